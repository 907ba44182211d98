"""Answers in words: complete, within their segments, and never cut where it would mislead."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.core.answer import AnswerKind, answer, board
from responder.core.flow import Flow
from responder.core.places import Place, PlaceKind
from responder.core.points import SERVICES, Point, Status, YesNo
from responder.core.reply import Manner, Voiceover, answer_speech, answer_text
from responder.core.segments import cost
from responder.flowfiles import load
from tests.conftest import FLOWS, NOW, STALE, ZONE, a_place, a_point

MANNER = Manner("Stockholms stad", "08-508 00 508", ZONE, STALE, 7)
OVER = Voiceover(MANNER, NOW)
THE_FLOW = load(FLOWS)


def text(flow: Flow, *points: Point, language: str = "sv", place: Place | None = None, **asked: object) -> str:
    found = answer(board(points, NOW, ZONE, STALE), place or a_place(), **asked)  # type: ignore[arg-type]
    return answer_text(found, flow.languages[language], OVER)[0]


def test_the_model_answer_in_swedish(flow: Flow) -> None:
    point = a_point(name="Exempelhallen", closes=NOW.replace(hour=21, minute=0), step_free=YesNo.YES, pets=YesNo.YES)
    assert text(flow, point).splitlines() == [
        "Trygghetspunkt ÖPPEN nu:",
        "Exempelhallen, Testgatan 36, Farsta, ca 400 m från 12347",
        "Öppet till 22. Info, laddning, vatten, värme. Rullstol OK. Husdjur OK.",
        "Kontrollerat 14.20. Sms vid ändring: svara JA. Fara för liv: 112",
        "/Stockholms stad",
    ]


def test_the_model_answer_in_english(flow: Flow) -> None:
    point = a_point(name="Exempelhallen", closes=NOW.replace(hour=21, minute=0), step_free=YesNo.YES)
    assert text(flow, point, language="en").splitlines() == [
        "Safety point (trygghetspunkt) OPEN now:",
        "Exempelhallen, Testgatan 36, Farsta, about 400 m from 12347",
        "Open until 22. Information, charging, water, warmth. Step-free.",
        "Checked 14.20. Text on change: reply YES. Danger to life: 112",
        "/City of Stockholm",
    ]


def test_none_open_says_what_to_do_instead(flow: Flow) -> None:
    said = text(flow, a_point(status=Status.CLOSED))
    for needed in (
        "Ingen trygghetspunkt är öppen nära 12347 nu (kl 14.20)",
        "P4",
        "113 13",
        "1177",
        "112",
        "brandstation",
    ):
        assert needed in said


def test_not_activated_is_another_answer_and_says_not_to_go(flow: Flow) -> None:
    said = text(flow, a_point(status=Status.PLANNED))
    assert "inte aktiverade i Stockholm nu (kl 14.20). Gå inte dit." in said
    assert "men en annan kan öppnas" in said
    assert "ÖPPEN" not in said


def test_an_unconfirmed_point_is_never_told_as_open(flow: Flow) -> None:
    said = text(flow, a_point(confirmed_at=NOW - timedelta(hours=13)))
    assert "OBEKRÄFTAT" in said
    assert "Uppges öppen" in said
    assert "Obekräftat sedan 1.20" in said
    assert "ÖPPEN nu" not in said


def test_a_hidden_point_is_told_by_name_and_helpline_alone(flow: Flow) -> None:
    said = text(flow, a_point(name="Kvinnojouren", hidden=True))
    assert "Kvinnojouren. Adress: ring 08-508 00 508" in said
    assert "Testgatan" not in said
    assert " m från" not in said


def test_a_moved_point_is_told_with_its_new_address_not_as_open(flow: Flow) -> None:
    said = text(flow, a_point("a", name="Gamla", status=Status.MOVED, moved_to="Ny gata 1"), a_point("b", lat=59.25))
    assert "Gamla har FLYTTAT till Ny gata 1." in said


def test_a_coarse_postcode_names_the_place_it_is_answered_for(flow: Flow) -> None:
    place = a_place(method="geonames_place", near="Väddö", accuracy=3000)
    assert "Vi räknar från Väddö. Skicka stadsdel" in text(flow, a_point(), place=place)


def test_without_the_database_an_answer_says_from_when_it_is(flow: Flow) -> None:
    found = answer(board([a_point()], NOW, ZONE, STALE), a_place())
    said, _ = answer_text(found, flow.languages["sv"], Voiceover(MANNER, NOW, as_of=NOW - timedelta(minutes=5)))
    assert "Uppgifter från kl 14.15" in said


def test_braces_and_markup_in_a_point_stay_what_they_are(flow: Flow) -> None:
    assert "{name} <b>&" in text(flow, a_point(name="{name} <b>&"))


def test_times_are_told_as_people_say_them(flow: Flow) -> None:
    words = flow.languages["sv"]
    at = datetime.fromisoformat
    cases = {
        "2026-11-24T22:00+01:00": "22", "2026-11-24T14:20+01:00": "14.20", "2026-11-25T08:00+01:00": "i morgon 8",
        "2026-11-28T08:00+01:00": "lördag 8", "2026-12-24T08:00+01:00": "24/12 8",
    }  # fmt: skip
    assert {moment: words.moment(at(moment), NOW, ZONE) for moment in cases} == cases
    assert words.until(at("2026-11-25T00:00+01:00"), NOW, ZONE) == "24"


@pytest.mark.parametrize(
    ("metres", "margin", "told"),
    [
        (412, 100, "ca 400 m"), (1234, 100, "ca 1,2 km"), (412, 600, "ca 500 m"), (1740, 600, "ca 1,5 km"),
        (3600, 1500, "ca 4 km"), (30, 100, "mindre än 100 m"), (9000, 4000, "ca 10 km"), (400, 3000, "mindre än 2 km"),
        (960, 100, "ca 1 km"), (12_345, 100, "ca 12 km"),
    ],
)  # fmt: skip
def test_a_distance_says_no_more_than_its_margin_deserves(flow: Flow, metres: int, margin: int, told: str) -> None:
    assert flow.languages["sv"].distance(metres, margin) == told


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
times = st.none() | st.integers(-3000, 3000).map(lambda minutes: NOW + timedelta(minutes=minutes))


@st.composite
def any_point(draw: st.DrawFn) -> Point:
    return a_point(
        draw(st.text("abc", min_size=1, max_size=5)),
        name=draw(names), address=draw(st.text("Åångatan 1{}", max_size=60)), city=draw(st.text("aö", max_size=40)),
        lat=59.2425 + draw(st.floats(-0.1, 0.1)), status=draw(st.sampled_from(Status)), opens=draw(times),
        closes=draw(times), services=tuple(s for s in SERVICES if draw(st.booleans())), phone="08-123 45 67 89 10",
        moved_to=draw(st.text("Ny gata 1", max_size=80)), step_free=draw(st.sampled_from(YesNo)),
        pets=draw(st.sampled_from(YesNo)), overnight=draw(st.sampled_from(YesNo)), note=draw(st.text(max_size=120)),
        hidden=draw(st.booleans()), confirmed_at=draw(times), hours=draw(st.sampled_from(["", "Mo-Su 08:00-20:00"])),
        municipality=draw(st.sampled_from(["Stockholm", "Nacka"])),
    )  # fmt: skip


@given(
    st.lists(any_point(), max_size=6, unique_by=lambda point: point.id),
    st.sampled_from(["sv", "en"]),
    st.sampled_from(["", "first_aid"]),
    st.sampled_from([PlaceKind.POSTCODE, PlaceKind.AREA, PlaceKind.MUNICIPALITY]),
    st.sampled_from(["address", "geonames_place"]),
    st.booleans(),
    st.integers(0, 3),
)
def test_every_answer_fits_and_what_matters_survives(
    points: list[Point], language: str, service: str, kind: PlaceKind, method: str, away: bool, skip: int
) -> None:
    """2 segments of GSM-7 with an open point, else 3; no point half told; name and address are never cut off."""
    wording = THE_FLOW.languages[language]
    place = a_place(kind=kind, method=method, near="Hässelby villastad")
    found = answer(board(points, NOW, ZONE, STALE), place, service, skip)
    over = replace(OVER, as_of=NOW) if away else OVER
    said, untold = answer_text(found, wording, over)
    price = cost(said)
    told_open = bool(found.offers) and found.kind is not AnswerKind.OPENS_LATER
    assert price.encoding == "GSM-7"
    assert price.segments <= (2 if told_open else 3)
    assert untold < max(1, len(found.offers))
    if told_open and not skip:
        first = found.offers[0]
        state = any(word in said for word in ("ppe", "pen", "FULL", "Ring", "Call", "STÄNGER", "CLOSES"))
        assert state
        plain = first.point.address.strip() if not first.point.hidden else "08-508 00 508"
        assert " ".join(plain.split()) in " ".join(said.split())
    assert answer_speech(found, wording, over)


def test_a_time_of_tomorrow_is_said_as_people_say_it(flow: Flow) -> None:
    tomorrow = NOW.replace(hour=5, minute=0) + timedelta(days=1)
    found = answer(board([a_point(closes=tomorrow)], NOW, ZONE, STALE), a_place())
    assert "Öppet till i morgon 6." in answer_text(found, flow.languages["sv"], OVER)[0]
    assert "Öppet till i morgon klockan 6." in [part.text for part in answer_speech(found, flow.languages["sv"], OVER)]
