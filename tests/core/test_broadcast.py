"""Broadcasts: every state with every step, who may approve, whom a target means, what a text must be, what it costs."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from responder.core.access import Forbidden, Operator, Permission, Role, holds, may, require, shell
from responder.core.broadcast import Audience, BadTarget, IllegalStep, State, Step, Template, after, objection, waits
from responder.core.estimate import (
    BadText,
    BadTime,
    Prices,
    Rates,
    TextMissing,
    checked_text,
    estimate,
    exercise_text,
    sending_time,
)
from responder.core.places import Gazetteer, PlaceKind, gazetteer
from tests.conftest import NOW, ZONE, a_place

S = State
LEADS = """
              edit   submit     approve   return    reject    send     pause   resume   stop     finish  reopen
    draft     draft  submitted  -         -         -         -        -       -        -        -       -
    submitted draft  -          approved  returned  rejected  -        -       -        stopped  -       -
    approved  draft  -          -         -         -         sending  -       -        stopped  -       -
    sending   -      -          -         -         -         -        paused  -        stopped  done    -
    paused    -      -          -         -         -         -        -       sending  stopped  -       -
    done      -      -          -         -         -         -        -       -        stopped  -       sending
    returned  draft  submitted  -         -         -         -        -       -        -        -       -
    rejected  -      -          -         -         -         -        -       -        -        -       -
    stopped   -      -          -         -         -         -        -       -        -        -       -
"""


def led() -> list[tuple[State, Step, str]]:
    header, *rows = (line.split() for line in LEADS.strip().splitlines())
    return [(State(row[0]), Step(step), to) for row in rows for step, to in zip(header, row[1:], strict=True)]


def test_the_table_names_every_state_with_every_step() -> None:
    assert {(state, step) for state, step, _ in led()} == set(itertools.product(State, Step))


@pytest.mark.parametrize(("state", "step", "to"), led())
def test_each_step_from_each_state(state: State, step: Step, to: str) -> None:
    if to != "-":
        assert after(state, step) is State(to)
        return
    with pytest.raises(IllegalStep, match=f"cannot {step} a broadcast that is {state}"):
        after(state, step)


def signed_in(name: str, role: Role = Role.APPROVER) -> Operator:
    return Operator(name, role, signed_in=True)


CREATORS = {"anna": "shell:root", "bo": "anna", "cecilia": "bo", "david": "anna"}


@pytest.mark.parametrize(
    ("approver", "editors", "read", "allowed"),
    [
        pytest.param(signed_in("david"), ["bo"], 2, True, id="another account"),
        pytest.param(signed_in("anna", Role.ADMIN), ["bo"], 2, True, id="who created the editor's account"),
        pytest.param(signed_in("bo"), ["bo"], 2, False, id="not who wrote it"),
        pytest.param(signed_in("bo"), ["david", "bo"], 2, False, id="not who edited it later"),
        pytest.param(signed_in("cecilia"), ["bo"], 2, False, id="not an account that an editor created"),
        pytest.param(signed_in("cecilia"), ["anna"], 2, False, id="nor one that such an account created"),
        pytest.param(signed_in("david"), ["shell:root"], 2, False, id="nor one that goes back to an editor's shell"),
        pytest.param(signed_in("bo"), ["shell:bo"], 2, False, id="not the same person without a token"),
        pytest.param(signed_in("david"), ["bo"], 1, False, id="not a version that was not read"),
        pytest.param(signed_in("david", Role.COMMUNICATOR), ["bo"], 2, False, id="not a communicator"),
        pytest.param(Operator("david", Role.APPROVER), ["bo"], 2, False, id="nobody who is not signed in"),
        pytest.param(shell("david"), ["bo"], 2, False, id="never a bare shell"),
    ],
)
def test_who_may_approve_version_2(approver: Operator, editors: list[str], read: int, allowed: bool) -> None:
    assert bool(objection(approver, editors, CREATORS, read, 2)) is not allowed


def test_accounts_that_created_each_other_do_not_hang_the_question() -> None:
    assert not objection(signed_in("a"), ["c"], {"a": "b", "b": "a"}, 1, 1)


REPORTS = {Permission.VIEW, Permission.POINT, Permission.PLAN, Permission.NOTE}
SENDS = REPORTS | {Permission.DRAFT, Permission.SEND, Permission.ANSWER, Permission.REVEAL}
DECIDES = SENDS | {Permission.APPROVE, Permission.DECIDE, Permission.EXERCISE, Permission.AUDIT}


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.VIEWER, {Permission.VIEW}),
        (Role.REPORTER, REPORTS),
        (Role.COMMUNICATOR, SENDS),
        (Role.APPROVER, DECIDES),
        (Role.ADMIN, DECIDES | {Permission.OPERATORS}),
    ],
)
def test_what_each_role_may(role: Role, allowed: set[Permission]) -> None:
    eva = Operator("eva", role, ("Farsta",), signed_in=True)
    assert {permission for permission in Permission if may(eva, permission, "Farsta")} == allowed
    assert {permission for permission in Permission if holds(role, permission)} == allowed


def test_everybody_has_a_permission_or_it_could_never_be_used() -> None:
    assert DECIDES | {Permission.OPERATORS} == set(Permission)


def test_a_bare_shell_writes_and_sends_but_never_approves_decides_sees_numbers_or_adds_operators() -> None:
    bare = shell("root")
    assert {p for p in Permission if may(bare, p)} == SENDS - {Permission.REVEAL}
    for never in (Permission.APPROVE, Permission.DECIDE, Permission.REVEAL, Permission.OPERATORS):
        with pytest.raises(Forbidden, match=f"shell:root may not {never.value}"):
            require(bare, never)
    with pytest.raises(Forbidden, match="shell:root may not approve a broadcast: sign in first"):
        require(bare, Permission.APPROVE)


def test_a_reporter_changes_the_points_of_their_own_districts() -> None:
    eva = Operator("eva", Role.REPORTER, ("Farsta",), signed_in=True)
    assert may(eva, Permission.POINT, "Farsta")
    with pytest.raises(Forbidden, match=r"eva \(reporter\) may not change a point in Bromma"):
        require(eva, Permission.POINT, "Bromma")
    with pytest.raises(Forbidden, match="may not propose a point that has no district"):
        require(eva, Permission.PLAN)


def test_a_reporter_without_districts_has_none_and_others_have_all() -> None:
    assert not may(signed_in("eva", Role.REPORTER), Permission.POINT, "Farsta")
    assert not may(signed_in("eva", Role.REPORTER), Permission.POINT)
    assert may(signed_in("eva", Role.REPORTER), Permission.NOTE)
    assert may(signed_in("eva", Role.COMMUNICATOR), Permission.POINT, "Farsta")
    farsta = Operator("eva", Role.APPROVER, ("Farsta",), signed_in=True)
    assert may(farsta, Permission.DECIDE, "Farsta") and not may(farsta, Permission.DECIDE, "Bromma")
    assert may(farsta, Permission.APPROVE)  # a broadcast lies in no district


@pytest.mark.parametrize(
    ("template", "recipients", "recent", "free", "danger", "wait"),
    [
        pytest.param(Template.FREE, 1000, 0, True, False, False, id="as many as one may reach"),
        pytest.param(Template.FREE, 1001, 0, True, False, True, id="one more"),
        pytest.param(Template.FREE, 600, 401, True, False, True, id="in pieces"),
        pytest.param(Template.ALL_CLEAR, 1001, 0, False, False, True, id="the all clear"),
        pytest.param(Template.EXERCISE, 1001, 0, False, False, True, id="an exercise"),
        pytest.param(Template.CORRECTION, 99999, 99999, False, False, False, id="the correction never"),
        pytest.param(Template.CORRECTION, 1001, 0, True, False, True, id="a correction that somebody wrote"),
        pytest.param(Template.FREE, 99999, 0, True, True, False, id="danger to life never"),
    ],
)
def test_what_waits_for_a_second_person(
    template: Template, recipients: int, recent: int, free: bool, danger: bool, wait: bool
) -> None:
    assert waits(template, recipients, recent, 1000, free, danger) is wait


class TestAudience:
    def parsed(self, known: Gazetteer, *tokens: str) -> Audience:
        return Audience.parse(tokens, known, {"farsta-1"})

    def test_every_kind_of_target_is_read_and_written_back(self, stockholm: Gazetteer) -> None:
        tokens = ("district:farsta", "area:hökarängen", "postcode:123 47", "point:farsta-1", "district:FARSTA")
        got = self.parsed(stockholm, *tokens)
        assert got == Audience(False, ("Farsta",), ("Hökarängen",), ("12347",), ("farsta-1",))
        assert Audience.from_json(got.to_json()) == got
        assert self.parsed(stockholm, *got.tokens()) == got

    def test_everyone_is_only_who_says_everyone(self, stockholm: Gazetteer) -> None:
        everyone = self.parsed(stockholm, "everyone")
        assert everyone == Audience.from_json(everyone.to_json()) == Audience(everyone=True)
        assert Audience.from_json("") == Audience() and Audience().empty

    @pytest.mark.parametrize(
        ("tokens", "reason"),
        [
            ((), "nobody is named"),
            (("",), "'' names nobody"),
            (("district:",), "'district:' names nobody"),
            (("Farsta",), "'Farsta' names nobody"),
            (("all:Farsta",), "'all:Farsta' is unknown"),
            (("everyone:Farsta",), "is unknown"),
            (("everyone", "district:Farsta"), "everyone takes in all others"),
            (("district:Hökarängen",), "no district is called 'Hökarängen'; choose among Bromma"),
            (("area:Nowhere",), "no place is called 'Nowhere'"),
            (("area:Järva",), "'Järva' is a district, not an area"),
            (("postcode:99999",), "no postcode '99999'"),
            (("postcode:Farsta",), "no postcode 'Farsta'"),
            (("point:farsta-9",), "no point has the id 'farsta-9'"),
            (("district:Farsta", "postcode:"), "'postcode:' names nobody"),
        ],
    )
    def test_a_target_that_is_missing_empty_or_unknown_is_refused(
        self, stockholm: Gazetteer, tokens: tuple[str, ...], reason: str
    ) -> None:
        with pytest.raises(BadTarget) as refused:
            self.parsed(stockholm, *tokens)
        assert reason in str(refused.value)

    def test_a_district_is_all_that_lies_in_it(self, stockholm: Gazetteer) -> None:
        codes = self.parsed(stockholm, "district:Farsta").codes(stockholm)
        assert {"12347", "12869", "stadsdel:hokarangen:stockholm", "area:farsta:stockholm@farsta"} <= codes
        assert all(stockholm.by_code[code].district == "Farsta" for code in codes)

    def test_an_area_is_itself_and_its_postcodes(self, stockholm: Gazetteer) -> None:
        codes = self.parsed(stockholm, "area:Hökarängen").codes(stockholm)
        assert {"12354", "12869", "stadsdel:hokarangen:stockholm"} <= codes
        assert "12347" not in codes

    def test_who_said_a_name_that_is_area_and_district_is_meant_by_both(self, stockholm: Gazetteer) -> None:
        seen_from = stockholm.recognise("Farsta").places[0].code
        assert seen_from in self.parsed(stockholm, "area:Farsta").codes(stockholm)
        assert seen_from in self.parsed(stockholm, "district:Farsta").codes(stockholm)
        assert seen_from not in self.parsed(stockholm, "area:Hökarängen").codes(stockholm)

    def test_a_municipality_is_all_of_it(self, stockholm: Gazetteer) -> None:
        codes = self.parsed(stockholm, "area:Haninge").codes(stockholm)
        assert codes == {place.code for place in stockholm.places if place.municipality == "Haninge"}

    def test_a_name_in_two_municipalities_asks_which(self) -> None:
        two = [
            replace(a_place(f"stadsdel:solhem:{m}"), name="Solhem", kind=PlaceKind.STADSDEL, municipality=m)
            for m in ("a", "b")
        ]
        known = gazetteer(two)
        with pytest.raises(BadTarget, match="area:stadsdel:solhem:a, area:stadsdel:solhem:b"):
            self.parsed(known, "area:Solhem")
        assert self.parsed(known, "area:stadsdel:solhem:a").codes(known) == {"stadsdel:solhem:a"}

    def test_overlapping_targets_count_once(self, stockholm: Gazetteer) -> None:
        whole = self.parsed(stockholm, "district:Farsta").codes(stockholm)
        assert self.parsed(stockholm, "district:Farsta", "postcode:12347", "area:Farsta").codes(stockholm) == whole


class TestTexts:
    def test_an_exercise_begins_and_ends_with_its_word(self) -> None:
        assert exercise_text("Gå inte dit.") == "ÖVNING. Gå inte dit. ÖVNING"
        assert exercise_text("Do not go.", "en") == "ÖVNING. EXERCISE. Do not go. ÖVNING"
        assert exercise_text("ÖVNING. This is an exercise. ÖVNING", "en") == "ÖVNING. This is an exercise. ÖVNING"

    @pytest.mark.parametrize("text", ["ÖVNING. Gå inte dit.", "  övning: x", "Exercise. Do not go.", "O\u0308VNING x"])
    def test_what_is_no_exercise_may_not_begin_like_one(self, text: str) -> None:
        with pytest.raises(BadText, match="begins like an exercise"):
            checked_text(text, "sv", exercise=False)

    def test_a_word_that_only_begins_alike_is_no_exercise(self) -> None:
        assert checked_text("Övningen är slut.", "sv", exercise=False) == "Övningen är slut."

    def test_a_text_is_composed_and_made_cheap_before_it_is_kept(self) -> None:
        assert checked_text(" A\u030a – ”hej”\r\n…\x00 ", "sv", exercise=False) == 'Å - "hej"\n...'

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (" \n ", "text sv: empty"),
            ("a" * 919, "7 segments, at most 6"),
            ("😀" + "a" * 410, "7 segments because of 😀, at most 6"),
        ],
    )
    def test_a_text_that_is_empty_or_too_long_is_refused(self, text: str, reason: str) -> None:
        with pytest.raises(BadText, match=reason):
            checked_text(text, "sv", exercise=False)


PRICES, RATES = Prices(segment=0.5, call=2.0), Rates(segments=10, calls=1)


def test_an_estimate_has_each_language_with_its_price_and_the_time_of_the_last() -> None:
    counts = {("sv", "text"): 100, ("sv", "call"): 30, ("en", "text"): 10, ("fi", "text"): 1}
    got = estimate({"sv": "Hej", "en": "a" * 161}, "sv", counts, PRICES, RATES, NOW)
    assert [(x.language, x.written_in, x.cost.segments, x.by_text, x.by_call, x.price) for x in got.lines] == [
        ("sv", "sv", 1, 100, 30, 110.0),
        ("en", "en", 2, 10, 0, 10.0),
        ("fi", "sv", 1, 1, 0, 0.5),
    ]
    assert (got.recipients, got.price) == (141, 120.5)
    assert got.finish == NOW + timedelta(seconds=30)  # 30 calls take longer than 121 segments, and go side by side


def test_a_language_with_recipients_needs_a_text_or_a_fallback_that_has_one() -> None:
    counts = {("sv", "text"): 1, ("en", "text"): 1, ("fi", "call"): 2, ("de", "text"): 0}
    with pytest.raises(TextMissing, match="no text in en, fi, which"):
        estimate({"sv": "Hej"}, "", counts, PRICES, RATES, NOW)
    assert estimate({"sv": "Hej"}, "sv", counts, PRICES, RATES, NOW).recipients == 4


class TestSendingTime:
    def at(self, text: str, now: datetime = NOW) -> datetime:
        return sending_time(text, ZONE, now)

    def test_a_clock_time_is_the_next_such_time(self) -> None:
        assert self.at("14:30") == NOW + timedelta(minutes=10)
        assert self.at("14.20") == NOW + timedelta(days=1)

    def test_a_full_time_is_local_unless_it_has_an_offset(self) -> None:
        assert self.at("2026-11-25T08:00") == datetime(2026, 11, 25, 7, tzinfo=UTC)
        assert self.at("2026-11-25T08:00+00:00") == datetime(2026, 11, 25, 8, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("soon", "is no time; write it like 14:20 or"),
            ("2026-11-25", "is no time"),
            ("0001-01-01T00:00", "is no time"),
            ("9999-12-31T23:59-10:00", "is no time"),
            ("2026-11-24T14:00", "has passed"),
            ("2027-03-28T02:30", "does not exist on the clock of Europe/Stockholm"),
            ("2027-10-31T02:30", r"comes twice .* write 2027-10-31T02:30\+02:00 or 2027-10-31T02:30\+01:00"),
        ],
    )
    def test_a_time_that_has_passed_or_is_not_one_time_is_refused(self, text: str, reason: str) -> None:
        with pytest.raises(BadTime, match=reason):
            self.at(text)

    def test_the_next_clock_time_may_not_exist_either(self) -> None:
        with pytest.raises(BadTime, match="2027-03-28 02:30 does not exist"):
            self.at("02:30", datetime(2027, 3, 27, 20, tzinfo=UTC))

    def test_with_an_offset_the_hour_that_comes_twice_is_one_time(self) -> None:
        assert self.at("2027-10-31T02:30+01:00") == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)
