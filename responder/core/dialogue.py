"""One step of a conversation: pure, fetching nothing.

`step` takes what was heard and returns what to say. When it needs a fact (a place, the nearest points) it
returns a `Need`; the caller looks it up and steps again with `Found`. What must be done comes back as effects.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from responder.core.answer import Answer
from responder.core.flow import PURPOSES, Choice, Flow, Node
from responder.core.places import Place
from responder.core.wording import Channel, plainly
from responder.core.words import MAX_TEXT, clean, words


@dataclass(frozen=True, slots=True)
class Session:
    """Where a conversation stands. `chosen`: the resident asked for the language, so it stays."""

    channel: Channel
    language: str
    node: str = ""
    chosen: bool = False
    place: str = ""  # code of the place that was answered, or waits to be confirmed
    service: str = ""
    told: int = 0  # points told of this answer
    candidates: tuple[tuple[str, str], ...] = ()  # (code, label) of places to choose from, or to confirm
    tries: int = 0
    purpose: str = ""  # what the place that is asked for is wanted for; "" for an answer
    seen: int = 0  # version of the points that the answer was made of


@dataclass(frozen=True, slots=True)
class Begin:
    """Somebody calls."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Somebody typed, said or keyed in something. `keyed`: by the phone's keys. `sure`: 0 to 1, of speech."""

    text: str
    keyed: bool = False
    sure: float = 1.0


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the look-up gave: an outcome of the flow, the places it is about, and the answer if there is one."""

    outcome: str
    places: tuple[Place, ...] = ()
    answer: Answer | None = None
    service: str = ""
    said: str = ""
    values: dict[str, str] = field(default_factory=dict)


Event = Begin | Heard | Silence | Found


@dataclass(frozen=True, slots=True)
class Need:
    """A fact to look up: the place in `text`, or the known `code`; `told` points were told before.

    `purpose`: what it is wanted for (core.flow.PURPOSES), "" for an answer.
    """

    text: str = ""
    code: str = ""
    service: str = ""
    told: int = 0
    sure: float = 1.0
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done in the transaction that saves the turn; `place` and `service` as the session had them."""

    do: str
    place: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """A sentence to say: its wording key, or "answer" with the answer itself."""

    key: str
    values: dict[str, str] = field(default_factory=dict)
    answer: Answer | None = None
    language: str = ""  # if it is not the session's
    offers: bool = True  # whether an answer goes on to say what else one can have (texts when it changes)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a step leads to. `options`: (key, label) pairs to offer; `digits`: keys to wait for on the phone."""

    session: Session
    says: tuple[Say, ...] = ()
    need: Need | None = None
    effects: tuple[Effect, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    digits: int = 5
    ends: bool = False


_NO_WORD = re.compile(r"[\W_]+")
ABOUT_A_PLACE = frozenset(
    ("subscribed", "subscribed_call", "asked_first", "asked_first_call", "unsubscribed", "not_subscribed", "texted")
)


def step(flow: Flow, session: Session, event: Event) -> Turn:
    """The next turn of `session` after `event`."""
    match event:
        case Begin():
            return _welcome(flow, session)
        case Silence():
            return _again(flow, session, flow.silence)
        case Heard():
            return _heard(flow, session, event)
        case Found():
            return _found(flow, session, event)


def may_stop(flow: Flow, text: str) -> bool:
    """Whether `text` may be STOPP in any language, alone or with more behind it: for who must decide before `step`."""
    said = plainly(clean(text[: 2 * MAX_TEXT]))
    first = said.partition(" ")[0]
    return any("stop" in (wording.command(said), wording.command(first)) for wording in flow.languages.values())


def in_their_language(flow: Flow, session: Session, text: str) -> Session:
    """`session` in the language that `text` is in, as far as its words tell."""
    return session if session.chosen else _in_their_language(flow, session, plainly(clean(text[: 2 * MAX_TEXT])))


def _welcome(flow: Flow, session: Session) -> Turn:
    turn = _enter(flow, session, flow.start)
    stars = [
        Say("say.star", language=code)
        for code, wording in flow.languages.items()
        if code != session.language and "say.star" in wording.voice
    ]
    return replace(turn, says=(*turn.says, *stars)) if session.channel is Channel.VOICE else turn


def _in_their_language(flow: Flow, session: Session, said: str) -> Session:
    """English in, English out: another language is taken up when its words clearly outnumber ours."""
    ours = flow.languages[session.language].likeness(said)
    best, most = session.language, ours
    for code, wording in flow.languages.items():
        likeness = wording.likeness(said)
        if likeness > most:
            best, most = code, likeness
    return session if best == session.language else replace(session, language=best)


def _heard(flow: Flow, session: Session, event: Heard) -> Turn:
    text = clean(event.text)
    said = plainly(text)
    if not event.keyed and not session.chosen and not said.isdecimal():
        session = _in_their_language(flow, session, said)
    if session.channel is Channel.VOICE and event.keyed and text in flow.keys:
        return _go(flow, session, flow.keys[text])
    node = flow.nodes.get(session.node, flow.nodes[flow.start])
    choice = _choice(flow, node, said, session.channel)
    if choice:
        return _go(flow, replace(session, tries=0), choice.next)
    command, language = ("", "") if event.keyed else _command(flow, session, said)
    if command in flow.always:
        spoken = language if command == "language" else session.language
        chosen = session.chosen or command == "language"
        return _go(flow, replace(session, language=spoken, chosen=chosen), flow.always[command])
    purpose, rest = ("", "") if event.keyed else _command_with_place(flow, session, text)
    if purpose:
        return _ask(session, Need(text=rest, purpose=purpose))
    if not text or not words(text):
        return _go(flow, session, "help") if session.channel is Channel.TEXT else _again(flow, session, flow.silence)
    if node.takes == "candidate" and text.isdecimal() and len(text) < 3:
        number = int(text)
        if 1 <= number <= len(session.candidates):
            code, _ = session.candidates[number - 1]
            return _ask(session, Need(code=code, service=session.service, purpose=session.purpose))
        return _again(flow, session, flow.wrong_key)
    if event.keyed and len(text) != 5:
        return _again(flow, session, flow.wrong_key if node.choices else flow.unclear)
    service = "" if node.say == "answer" else session.service  # a new question asks for what it names
    purpose = "subscribe" if node.takes == "subscription" else ""
    return _ask(session, Need(text=text, code=session.place, service=service, sure=event.sure, purpose=purpose))


def _ask(session: Session, need: Need) -> Turn:
    return Turn(replace(session, purpose=need.purpose), need=need)


def _command_with_place(flow: Flow, session: Session, text: str) -> tuple[str, str]:
    """(what is asked for, the rest) of a message such as `START 12347` or `STOPP Farsta`."""
    first, *more = _NO_WORD.split(text.strip(), maxsplit=1)
    rest = more[0] if more else ""
    if not rest:
        return "", ""
    command, _ = _command(flow, session, plainly(first))
    return flow.with_place.get(command, ""), rest


def _command(flow: Flow, session: Session, said: str) -> tuple[str, str]:
    """The command that `said` means and the language it was said in: ours first, then the others."""
    ordered = [session.language, *(code for code in flow.languages if code != session.language)]
    for code in ordered:
        command = flow.languages[code].command(said)
        if command:
            return command, code
    return "", ""


def _choice(flow: Flow, node: Node, said: str, channel: Channel) -> Choice | None:
    for choice in node.choices:
        named = any(wording.command(said) == choice.word for wording in flow.languages.values())
        if (said == choice.key or named) and choice.on in ("", channel):
            return choice
    return None


def _go(flow: Flow, session: Session, to: str) -> Turn:
    """Enter the node `to`, or do what an @action says."""
    if to == "@next_language":
        codes = list(flow.languages)
        following = codes[(codes.index(session.language) + 1) % len(codes)]
        session, to = replace(session, language=following, chosen=True), "@language"
    if to == "@language":
        if session.node == "answered" and session.place:
            return _ask(session, Need(code=session.place, service=session.service))
        return _enter(flow, session, "language")
    if to == "@more" and session.place:
        return _ask(session, Need(code=session.place, service=session.service, told=max(session.told, 1)))
    if to in ("@repeat", "@pending") and session.place:
        return _ask(session, Need(code=session.place, service=session.service, purpose=session.purpose))
    if to.removeprefix("@") in PURPOSES:
        return _ask(session, Need(code=session.place, service=session.service, purpose=to.removeprefix("@")))
    return _enter(flow, session, "ask_place" if to.startswith("@") else to)


def _enter(flow: Flow, session: Session, name: str, say: Say | None = None) -> Turn:
    node = flow.nodes[name]
    key = f"{node.say}_service" if name == "ask_place" and session.service else node.say
    label = flow.languages[session.language].service_labels.get(session.service, "")
    values = {"service": label[:1].upper() + label[1:] if session.channel is Channel.TEXT else label}
    values["place"] = session.candidates[0][1] if session.candidates else ""
    says = (say or Say(key, values),)
    return Turn(
        replace(session, node=name),
        says,
        effects=tuple(Effect(name, session.place, session.service) for name in node.effects),
        options=_options(flow, session, node),
        digits=1 if node.choices or node.takes == "candidate" else 5,
        ends=node.ends,
    )


def _options(flow: Flow, session: Session, node: Node) -> tuple[tuple[str, str], ...]:
    wording = flow.languages[session.language]
    if node.takes == "candidate":
        return tuple((str(number), label) for number, (_, label) in enumerate(session.candidates, start=1))
    if node.listed_for != session.channel:
        return ()
    here = [choice for choice in node.choices if choice.on in ("", session.channel)]
    return tuple((choice.key, wording.say(f"choice.{choice.id}", session.channel)) for choice in here)


def _again(flow: Flow, session: Session, key: str) -> Turn:
    """Say what went wrong and ask again; a caller who cannot be helped is let go kindly after `tries` repeats."""
    tries = session.tries + 1
    session = replace(session, tries=tries)
    if session.channel is Channel.VOICE and tries > flow.tries:
        return _enter(flow, session, flow.spent)
    name = session.node or flow.start
    if flow.nodes[name].say == "answer":  # the options again, not the whole answer
        prompt = replace(_enter(flow, session, name), says=())
    elif flow.nodes[name].takes == "place" and not flow.nodes[name].choices:
        prompt = _enter(flow, session, "ask_place")
    else:
        prompt = _enter(flow, session, name)
    return replace(prompt, says=(Say(key), *prompt.says))


def _found(flow: Flow, session: Session, found: Found) -> Turn:
    name = flow.outcomes[found.outcome]
    still = found.outcome in ("several", "unsure")
    session = replace(session, service=found.service, purpose=session.purpose if still else "")
    if found.outcome == "answer" and found.answer:
        told = found.answer.skipped + len(found.answer.offers)
        session = replace(session, place=found.answer.place.code, told=told, candidates=(), tries=0)
        return _enter(flow, session, name, Say("answer", answer=found.answer))
    if found.outcome == "no_more":
        return _enter(flow, session, name)
    if found.outcome in ("unknown", "outside", "no_such_code", "district") and session.channel is Channel.VOICE:
        session = replace(session, tries=session.tries + 1)
        if session.tries > flow.tries:
            return _enter(flow, session, flow.spent)
    if found.outcome == "several":
        return _enter(flow, replace(session, candidates=tuple(_labelled(found.places))), name)
    if found.outcome == "unsure":
        place = found.places[0]
        return _enter(flow, replace(session, place=place.code, candidates=((place.code, place.name),)), name)
    if found.outcome == "ask_place":
        return _enter(flow, session, name)
    if found.outcome in ABOUT_A_PLACE:
        session = replace(session, place=found.places[0].code)
    turn = _enter(flow, session, name, Say(flow.nodes[name].say, {"said": found.said, **found.values}))
    if found.answer:
        known = replace(turn.session, told=len(found.answer.offers))
        turn = replace(turn, session=known, says=(*turn.says, Say("answer", answer=found.answer, offers=False)))
    return turn


def _labelled(places: tuple[Place, ...]) -> Iterator[tuple[str, str]]:
    """(code, label): a name that two of the places share gets its municipality or district added."""
    names = [place.name for place in places]
    for place in places:
        home = place.district if place.municipality == "Stockholm" and place.district else place.municipality
        yield place.code, f"{place.name} ({home})" if names.count(place.name) > 1 and home else place.name
