"""Flow and wording files: what is refused, and that a language is one file."""

import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.dialogue import Begin, Found, Heard, Session, Silence, step
from responder.core.flow import PLACEHOLDERS, FlowError, mermaid
from responder.core.segments import cost
from responder.core.wording import Channel, spoken_digits
from responder.flowfiles import load
from tests.conftest import FLOWS, Running, a_point

FLOW = load(FLOWS)

BROKEN = [
    ("resident.toml", 'next = "ask_place" },\n]\n\n[node.which]', 'next = "nowhere" },\n]\n\n[node.which]', "nowhere"),
    ("resident.toml", 'unknown = "unknown"', "", "[place], [subscription]: the outcome 'unknown' leads nowhere"),
    ("resident.toml", 'start = "welcome"', 'start = "hello"', "hello"),
    ("resident.toml", '[node.goodbye]\nsay = "say.goodbye"\nends = true', '[node.goodbye]\nsay = "say.goodbye"', "goodbye"),
    ("resident.toml", '[node.thanks]\nsay = "say.thanks"', '[node.thanks]\nsay = "say.thankyou"', "say.thankyou: missing"),
    ("resident.toml", '{ id = "more", key = "2"', '{ id = "more", key = "1"', "[node.answered]: the key 1 is used twice"),
    ("resident.toml", '{ id = "more", key = "2"', '{ id = "more", key = "0"', "the key 0 is used twice"),
    ("resident.toml", 'takes = "candidate"', 'takes = "money"', "[node.which]: takes 'money'"),
    ("resident.toml", 'effects = ["forget"]', 'effects = ["explode"]', "[node.stopped]: no such effect: explode"),
    ("resident.toml", "[node.goodbye]", '[node.alone]\nsay = "say.help"\nends = true\n\n[node.goodbye]', "nothing leads here"),
    ("resident.toml", 'takes = "place"\n\n[node.ask_place]', 'takes = "place"\nsays = "x"\n\n[node.ask_place]', "unknown setting says"),
    ("resident.toml", "[flow]", "[flow", "resident.toml"),
    ("wording/sv.toml", '"say.help" = ', '"say.halp" = ', "wording/sv.toml: [text] say.help: missing"),
    ("wording/en.toml", '"say.help" = ', '"say.halp" = ', "wording/en.toml: [text] say.help: missing"),
    ("wording/sv.toml", "Vilken menar du? Svara", "Vilken menar du {namn}? Svara", "say.which: unknown placeholder {namn}"),
    ("wording/sv.toml", 'thanks = ["tack"', 'thanks = ["mer", "tack"', "'mer': means both more and thanks"),
    ("wording/sv.toml", '"say.about" = "', '"say.about" = "' + "Mycket att läsa. " * 30, "say.about"),
    ("wording/sv.toml", '"say.help" = "', '"say.help" = "ş ', "say.help: 5 segments at worst (UCS-2)"),
    ("wording/sv.toml", 'water = "vatten"', "", "[services.labels] water: missing"),
    ("wording/sv.toml", 'decimal = ","', "", "[format] decimal: missing"),
    ("wording/sv.toml", 'reviewer = "Trygghetssvar"', 'reviewer = ""', "reviewer"),
    ("wording/sv.toml", 'code = "sv"', 'code = "se"', "[language] code"),
    ("wording/sv.toml", "[budget]", "[budgets]", "'budget' is missing"),
    ("wording/en.toml", "[language]", "[language", "wording/en.toml"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the flow files to break."""
    return Path(shutil.copytree(FLOWS, tmp_path / "flows"))


@pytest.mark.parametrize(("file", "old", "new", "reason"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_flow_stops_the_start_with_file_node_and_reason(
    folder: Path, start: Callable[..., Running], file: str, old: str, new: str, reason: str
) -> None:
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FlowError) as refused:
        start(flows_dir=folder)
    problems = refused.value.problems
    assert any(reason in problem for problem in problems), problems
    assert all(problem.startswith(("resident.toml", "wording/")) for problem in problems)


def test_the_flow_that_ships_holds_together() -> None:
    assert list(FLOW.languages) == ["sv", "en"]


def test_the_chart_names_every_node() -> None:
    chart = mermaid(FLOW)
    assert chart.startswith("flowchart TD")
    assert all(f"n_{name}" in chart for name in FLOW.nodes)


def pseudo(folder: Path) -> None:
    """A language made by a machine: every sentence bracketed, in letters of its own, without a voice."""
    text = (folder / "wording" / "sv.toml").read_text(encoding="utf-8")
    head, body = text.split("\n[text]\n")
    body = body.replace('" = "', '" = "Қ ')
    head = head.replace('code = "sv"', 'code = "xx"').replace('name = "svenska"', 'name = "pseudo"')
    head = head.replace('voice = "Polly.Elin-Neural"', 'voice = ""').replace("speech = true", "speech = false")
    head = head.replace("open = 2", "open = 9").replace("other = 3", "other = 9")
    lines, table = [], ""
    for line in head.splitlines():
        if line.startswith("["):
            table = line.split("]")[0].strip("[ ")
        if table == "commands" and "=" in line:
            words = '["pseudo"]' if line.startswith("language") else "[]"
            line = f"{line.split(' = ')[0]} = {words}"
        if table == "hints" and line.startswith("words"):
            line = 'words = ["qapla"]'
        lines.append(line)
    (folder / "wording" / "xx.toml").write_text("\n".join(lines) + "\n[text]\n" + body, encoding="utf-8")
    (folder / "audio").mkdir()
    keys = [line.split('"')[1] for line in body.splitlines() if line.startswith('"')]
    clips = "\n".join(f'"{key}" = "xx/{key}.mp3"' for key in dict.fromkeys(keys))
    (folder / "audio" / "xx.toml").write_text(f"[clips]\n{clips}\n", encoding="utf-8")


def test_a_language_is_one_wording_file_and_maybe_recordings(folder: Path, start: Callable[..., Running]) -> None:
    """No Python: texts come in its own alphabet, and a call plays clips where the provider has no voice."""
    pseudo(folder)
    running = start(flows_dir=folder)
    running.put(a_point())
    assert running.phone.text("pseudo").startswith("Қ")
    reply = running.phone.text("12347")
    assert reply.startswith("Қ Trygghetspunkt ÖPPEN nu:")
    assert cost(reply).encoding == "UCS-2"
    phone = running.another_phone("+46700000002")
    phone.call()
    phone.keys("*")
    spoken = phone.keys("*")
    assert spoken == [f"[{running.app.extensions['responder'].settings.public_url}/audio/xx/say.language.mp3]"]
    assert any(line.endswith("/open.head.mp3]") for line in phone.keys("12347"))


def test_the_static_fallback_says_what_the_wording_says() -> None:
    """Twilio's fallback address serves these when nothing of ours answers: they must stay sound and in step."""
    spoken = [w.template("say.unavailable", Channel.VOICE) for w in FLOW.languages.values()]
    texts = "\n".join(w.text["say.unavailable"] for w in FLOW.languages.values())
    voice = ElementTree.parse(FLOWS / "fallback" / "voice.xml").getroot()
    sms = ElementTree.parse(FLOWS / "fallback" / "sms.xml").getroot()
    assert [say.text for say in voice.iter("Say")] == spoken
    assert [message.text for message in sms.iter("Message")] == [texts]
    assert cost(texts).segments <= 3


def test_every_placeholder_that_is_allowed_is_documented() -> None:
    said = (FLOWS.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for start_of_key, names in PLACEHOLDERS.items():
        for name in names:
            assert f"`{{{name}}}`" in said, (start_of_key, name)


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("ett två tre fyrtiosju", "12347"), ("ett två tre fyra sju", "12347"), ("hundratjugotre fyrtiosju", "12347"),
        ("etthundratjugotre fyrtiosju", "12347"), ("tolv tre fyrtiosju", "12347"), ("jag bor i ett tolv tjugotvå", "jag bor i 11222"),
        ("farsta", "farsta"), ("jag är ensam", "jag är ensam"), ("123 fyrtiosju", "123 47"),
    ],
)  # fmt: skip
def test_digits_may_be_spoken(said: str, digits: str) -> None:
    assert spoken_digits(said, FLOW.languages["sv"].numbers) == digits


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I am in Gamla stan, need food", "en"), ("water in Kista", "en"), ("jag är i Kista", "sv"), ("vatten i Kista", "sv"),
        ("help", "en"), ("hjälp", "sv"), ("Kista", "sv"), ("12347", "sv"), ("finns det mat här i Farsta", "sv"),
        ("which is open", "en"), ("STOP", "sv"), ("TEST", "sv"),
    ],
)  # fmt: skip
def test_a_message_is_answered_in_the_language_it_is_in(text: str, language: str) -> None:
    assert step(FLOW, Session(Channel.TEXT, "sv"), Heard(text)).session.language == language


heard = st.one_of(
    st.builds(Heard, st.text(max_size=40), st.booleans(), st.floats(0, 1)),
    st.sampled_from(
        [Heard("mer"), Heard("stopp"), Heard("english"), Heard("1", True), Heard("*", True), Silence(), Begin()]
    ),
)
outcomes = st.sampled_from(["unknown", "outside", "no_such_code", "district", "no_more", "ask_place"])


@given(st.sampled_from(Channel), st.lists(st.tuples(heard, outcomes), max_size=12))
def test_whatever_is_heard_something_is_said(channel: Channel, events: list[tuple[object, str]]) -> None:
    """No event breaks the engine; each turn says something, and one that does not end can be answered."""
    session = Session(channel, "sv")
    for event, outcome in events:
        turn = step(FLOW, session, event)  # type: ignore[arg-type]
        if turn.need:
            turn = step(FLOW, turn.session, Found(outcome))
        assert turn.need is None
        assert turn.says or turn.options
        assert turn.ends == FLOW.nodes[turn.session.node].ends
        session = turn.session


def test_three_silences_end_a_call() -> None:
    turn = step(FLOW, Session(Channel.VOICE, "sv"), Begin())
    for ends in (False, False, True):
        turn = step(FLOW, turn.session, Silence())
        assert turn.ends is ends
