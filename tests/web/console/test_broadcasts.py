"""Broadcasts in the console: writing, approving, sending, how far it is, and STOP from every page."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from responder.actions.announce import Announcer
from responder.core.access import Operator, Role
from responder.core.broadcast import Broadcast, State, Template
from responder.store import exercises
from tests.conftest import NOW, a_point
from tests.web.console.conftest import Browser, Console

ANNA = Operator("anna", Role.COMMUNICATOR, signed_in=True)
TEXTS = {"sv": "Vatten vid torget till kl 20.", "en": "Water at the square until 8 pm."}
DANGER = "Gasläcka i Farsta"


@pytest.fixture
def anna(console: Console) -> Browser:
    """A communicator, and five who follow 12347, one of them in English."""
    console.running.put(a_point("farsta-1"))
    with console.service.database.write() as connection:
        for n in range(5):
            connection.execute(
                text(
                    "INSERT INTO subscriptions (number_hash, number_sealed, channel, language, place, service, state,"
                    " exercise, told, said, said_at, created_at) VALUES (:hash, :sealed, 'text', :language, '12347',"
                    " '', 'active', :exercise, 'open farsta-1 open 0', '', 0, 0)"
                ),
                {
                    "hash": bytes([n]),
                    "sealed": console.service.vault.seal(f"+4670174060{n}"),
                    "language": "en" if n == 4 else "sv",
                    "exercise": n == 0,
                },
            )
    return english(console.browser(Role.COMMUNICATOR, "anna"))


@pytest.fixture
def bo(console: Console, anna: Browser) -> Browser:
    """An approver who has written nothing."""
    return english(console.browser(Role.APPROVER, "bo"))


@pytest.fixture(autouse=True)
def strict(console: Console) -> Iterator[None]:
    """Whatever reaches more than two waits for a second person."""
    before = console.service.settings.approve_above
    object.__setattr__(console.service.settings, "approve_above", 2)
    yield
    object.__setattr__(console.service.settings, "approve_above", before)


def english(browser: Browser) -> Browser:
    browser.post("/console/language", language="en")
    return browser


def announcer(console: Console) -> Announcer:
    return console.service.announcer


def draft(console: Console, **how: object) -> Broadcast:
    how = {"texts": TEXTS, "fallback": "sv", **how}
    return announcer(console).draft(ANNA, ["district:Farsta"], console.running.clock.now, **how)  # type: ignore[arg-type]


def sent(console: Console) -> Broadcast:
    made, now = draft(console), console.running.clock.now
    announcer(console).submit(ANNA, made.id, now, DANGER)
    return announcer(console).send(ANNA, made.id, now)


def state(console: Console, id: int) -> State:
    return console.service.tracker.read(ANNA, id).state


def said(answer: TestResponse | str) -> str:
    """What a page says, in one line."""
    html = answer if isinstance(answer, str) else answer.get_data(as_text=True)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


class TestWriting:
    def test_a_draft_is_saved_for_whom_was_chosen_and_sends_nothing(self, console: Console, anna: Browser) -> None:
        fields = {
            "text_sv": TEXTS["sv"], "text_en": TEXTS["en"], "fallback": "sv", "districts": ["Farsta", "Bromma"],
            "areas": "Hökarängen, ", "postcodes": "123 47", "points": "farsta-1",
        }  # fmt: skip
        answer = anna.post("/console/broadcasts/new", follow=True, **fields)
        made = console.service.tracker.newest(ANNA, 1)[0]
        assert made.audience.tokens() == (
            "district:Farsta", "district:Bromma", "area:Hökarängen", "postcode:12347", "point:farsta-1",
        )  # fmt: skip
        assert made.texts["sv"] == "Vatten vid torget till kl 20. /Stockholms stad"
        assert (made.state, made.fallback) == (State.DRAFT, "sv")
        assert f"Draft {made.id} is saved. Nothing has been sent." in said(answer)

    @pytest.mark.parametrize(
        ("fields", "about", "why"),
        [
            ({"text_sv": "Hej", "everyone": "y", "districts": "Farsta"}, "everyone", "everyone takes in all others"),
            ({"text_sv": "Hej"}, "everyone", "nobody is named"),
            ({"text_sv": "Hej", "postcodes": "99999"}, "postcodes", "no postcode '99999' is known"),
            ({"text_sv": "Hej", "areas": "Narnia"}, "areas", "no place is called 'Narnia'"),
            ({"text_sv": "Hej", "points": "nowhere"}, "points", "no point has the id 'nowhere'"),
            ({"text_sv": "Hej", "text_en": "x" * 1000, "everyone": "y"}, "text_en", "7 segments, at most 6"),
            ({"text_sv": "ÖVNING Hej", "everyone": "y"}, "text_sv", "begins like an exercise"),
            ({"text_sv": "Hej", "everyone": "y", "fallback": "en"}, "fallback", "chosen as the fallback"),
        ],
    )
    def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(
        self, console: Console, anna: Browser, fields: dict[str, str], about: str, why: str
    ) -> None:
        answer = anna.post("/console/broadcasts/new", **fields)
        html = unescape(answer.get_data(as_text=True))
        assert answer.status_code == 422
        assert f'href="#{about}"' in html and why in html
        assert "Hej" in html and all(value in html for name, value in fields.items() if name != "everyone")
        assert console.service.tracker.newest(ANNA, 1) == []

    def test_a_template_brings_its_text_in_every_language(self, console: Console, anna: Browser) -> None:
        html = unescape(anna.page("/console/broadcasts/new?template=all_clear"))
        for text_of in announcer(console).scribe.prewritten(Template.ALL_CLEAR, False, NOW).values():
            assert text_of in html
        exercise = unescape(anna.page("/console/broadcasts/new?template=exercise"))
        assert "begins and ends with ÖVNING" in exercise and 'name="exercise" value="1"' in exercise

    def test_a_text_is_counted_while_it_is_written_exactly_as_it_will_be_sent(self, anna: Browser) -> None:
        html = anna.post("/console/broadcasts/count", text="Hej 😀", language="sv", exercise="1").get_data(as_text=True)
        assert "ÖVNING. Hej 😀 /Stockholms stad ÖVNING" in html
        assert "1 segment, UCS-2" in html and "Dear characters: 😀" in html
        assert "32 characters left" in html
        assert "7 segments, at most 6" in anna.post(
            "/console/broadcasts/count", text="x" * 1000, language="sv"
        ).get_data(as_text=True)

    def test_what_the_count_says_is_left_fits_and_one_more_does_not(self, anna: Browser) -> None:
        for typed in ("Hej", "å" * 150, "€" * 90, "Привет"):
            html = anna.post("/console/broadcasts/count", text=typed, language="sv").get_data(as_text=True)
            segments, left = re.search(r"(\d+) segments?,.*?(\d+) characters left", html, re.S).groups()  # type: ignore[union-attr]
            for more, expected in ((int(left), int(segments)), (int(left) + 1, int(segments) + 1)):
                html = anna.post("/console/broadcasts/count", text=typed + "a" * more, language="sv").get_data(True)
                assert f"{expected} segment" in html, (typed, more)

    def test_it_is_counted_without_scripts_too(self, console: Console, anna: Browser) -> None:
        answer = anna.post("/console/broadcasts/new", text_sv="Hej", everyone="y", preview="1")
        assert answer.status_code == 200 and "Hej /Stockholms stad" in said(answer) and "1 segment" in said(answer)
        assert console.service.tracker.newest(ANNA, 1) == []

    def test_markup_in_a_text_is_shown_and_never_run(self, console: Console, anna: Browser) -> None:
        made = draft(console, texts={"sv": "<script>alert(1)</script>"})
        for path in (f"/console/broadcasts/{made.id}", "/console/broadcasts", f"/console/broadcasts/{made.id}/edit"):
            assert "<script>alert" not in anna.page(path)

    def test_a_text_that_was_emptied_is_gone(self, console: Console, anna: Browser) -> None:
        made = draft(console)
        fields = {"text_sv": "Nytt", "text_en": "", "fallback": "", "postcodes": "12347", "version": "1"}
        anna.post(f"/console/broadcasts/{made.id}/edit", **fields)
        changed = console.service.tracker.read(ANNA, made.id)
        assert changed.texts == {"sv": "Nytt /Stockholms stad"}
        assert (changed.fallback, changed.version, changed.audience.tokens()) == ("", 2, ("postcode:12347",))

    def test_a_change_that_names_nobody_is_refused_and_reaches_nobody_else(
        self, console: Console, anna: Browser
    ) -> None:
        made = draft(console)
        answer = anna.post(f"/console/broadcasts/{made.id}/edit", text_sv="Nytt", version="1")
        assert answer.status_code == 422 and "nobody is named" in said(answer) and "Nytt" in said(answer)
        assert console.service.tracker.read(ANNA, made.id) == made

    def test_of_two_at_once_the_second_sees_what_the_first_wrote_and_loses_nothing(
        self, console: Console, anna: Browser, bo: Browser
    ) -> None:
        made = draft(console)
        bo.post(f"/console/broadcasts/{made.id}/edit", text_sv="Bos text", districts="Bromma", version="1")
        mine = {"text_sv": "Annas text", "text_en": "Anna's text", "fallback": "sv", "districts": "Farsta"}
        answer = anna.post(f"/console/broadcasts/{made.id}/edit", version="1", **mine)
        seen = unescape(answer.get_data(as_text=True))
        assert answer.status_code == 422
        assert "What bo has written meanwhile (version 2)" in seen and "Bos text /Stockholms stad" in seen
        assert "Districts: Bromma" in seen
        assert "Annas text" in seen and "Anna's text" in seen
        version = re.search(r'name="version"[^>]*value="(\d+)"', seen)
        assert version and version[1] == "2"
        assert console.service.tracker.read(ANNA, made.id).editors == ("anna", "bo")
        anna.post(f"/console/broadcasts/{made.id}/edit", version="2", **mine)
        assert console.service.tracker.read(ANNA, made.id).texts["sv"].startswith("Annas text")

    def test_what_was_sent_meanwhile_is_not_changed_and_what_was_typed_is_kept(
        self, console: Console, anna: Browser
    ) -> None:
        made = sent(console)
        answer = anna.post(f"/console/broadcasts/{made.id}/edit", text_sv="Min text", districts="Farsta", version="1")
        assert answer.status_code == 422 and "cannot edit a broadcast that is sending" in said(answer)
        assert "Min text" in said(answer)


class TestApproval:
    def test_many_wait_for_somebody_else_who_approves_the_version_that_they_read(
        self, console: Console, anna: Browser, bo: Browser
    ) -> None:
        made = draft(console)
        path = f"/console/broadcasts/{made.id}"
        page = said(anna.page(path))
        assert "Vatten vid torget till kl 20. /Stockholms stad" in page and "5 people" in page
        assert "now waits" in said(anna.post(f"{path}/submit", True, version="1"))
        assert "An approver who has not written at it must approve it." in said(anna.page(path))
        assert "Approve version" not in anna.page(path)
        assert "Waits for approval Somebody who has not written" in said(bo.page("/console/broadcasts"))
        assert "Approve version 1" in bo.page(path)
        assert "version 7 was read" in said(bo.post(f"{path}/approve", True, version="7"))
        assert state(console, made.id) is State.SUBMITTED
        assert "You have approved version 1" in said(bo.post(f"{path}/approve", True, version="1"))
        page = said(anna.page(path))
        assert "Approved by bo, version 1" in page and "Send now to 5 people" in page

    def test_who_wrote_at_it_is_told_why_they_cannot_approve_it(self, console: Console, bo: Browser) -> None:
        made = draft(console)
        path = f"/console/broadcasts/{made.id}"
        bo.post(f"{path}/edit", text_sv="Bos", districts="Farsta", fallback="sv", version="1")
        bo.post(f"{path}/submit", version="2")
        page = said(bo.page(path))
        assert "bo wrote it or changed it; somebody else must approve" in page and "Approve version" not in page
        assert bo.post(f"{path}/approve", version="2").status_code == 409
        assert state(console, made.id) is State.SUBMITTED

    def test_it_is_returned_or_rejected_with_a_reason_that_stays(
        self, console: Console, anna: Browser, bo: Browser
    ) -> None:
        for step, became in (("return", State.RETURNED), ("reject", State.REJECTED)):
            made = announcer(console).submit(ANNA, draft(console).id, NOW)[0]
            bo.post(f"/console/broadcasts/{made.id}/{step}", why="Fel stadsdel")
            assert state(console, made.id) is became
            assert "Fel stadsdel" in said(anna.page(f"/console/broadcasts/{made.id}"))

    def test_a_version_that_changed_since_it_was_read_is_not_submitted(self, console: Console, anna: Browser) -> None:
        made = draft(console)
        announcer(console).edit(ANNA, made.id, NOW, texts={"sv": "Annat"})
        assert anna.post(f"/console/broadcasts/{made.id}/submit", version="1").status_code == 409
        assert anna.post(f"/console/broadcasts/{made.id}/hasten", version="1", danger=DANGER).status_code == 409
        assert state(console, made.id) is State.DRAFT

    @pytest.mark.parametrize("waits", [False, True])
    def test_danger_to_life_needs_a_reason_and_then_nobody_else(
        self, console: Console, anna: Browser, waits: bool
    ) -> None:
        made = draft(console)
        if waits:
            announcer(console).submit(ANNA, made.id, NOW)
        path = f"/console/broadcasts/{made.id}/hasten"
        for short in ("", "fara"):
            answer = anna.post(path, danger=short, version="1")
            assert answer.status_code == 422 and 'href="#danger"' in answer.get_data(as_text=True)
        anna.post(path, danger=DANGER, version="1")
        assert state(console, made.id) is State.APPROVED
        assert f"Danger to life: {DANGER}" in said(anna.page(f"/console/broadcasts/{made.id}"))

    def test_openings_that_wait_are_shown_with_what_they_tell_and_approved_or_rejected(
        self, console: Console, anna: Browser, bo: Browser
    ) -> None:
        def pushed() -> int:
            with console.service.database.write() as connection:
                id = connection.execute(
                    text(
                        "INSERT INTO broadcasts (kind, state, priority, operator, run, created_at, submitted_at,"
                        " recipients) VALUES ('status', 'submitted', 3, 'carl', 1, 0, 0, 5) RETURNING id"
                    )
                ).scalar_one()
                connection.execute(
                    text(
                        "INSERT INTO deliveries (broadcast_id, kind, number_hash, number_sealed, channel, language, place,"
                        " service, serial, subscription_id, state, target, created_at) SELECT :id, 'status', number_hash,"
                        " number_sealed, 'text', 'sv', '12347', '', '', id, 'queued', 'open farsta-1 open 0', 0"
                        " FROM subscriptions"
                    ),
                    {"id": id},
                )
                return int(id)

        first = pushed()
        page = said(bo.page(f"/console/broadcasts/{first}"))
        assert "Hallen farsta-1 open 5" in page and "Approve version 1" in page and "Return it" not in page
        bo.post(f"/console/broadcasts/{first}/approve", version="1")
        second, third = pushed(), pushed()
        bo.post(f"/console/broadcasts/{second}/reject", why="Nej")
        anna.post(f"/console/broadcasts/{third}/hasten", version="1", danger=DANGER)
        became = [state(console, id) for id in (first, second, third)]
        assert became == [State.SENDING, State.REJECTED, State.SENDING]


class TestSending:
    def test_it_is_sent_now_or_at_a_time_and_a_wrong_time_stands_beside_its_field(
        self, console: Console, anna: Browser
    ) -> None:
        made = draft(console)
        announcer(console).submit(ANNA, made.id, NOW, DANGER)
        path = f"/console/broadcasts/{made.id}/send"
        for typed in ("", "kvart över", "2020-01-01T10:00"):
            answer = anna.post(path, later="1", at=typed)
            html = unescape(answer.get_data(as_text=True))
            assert answer.status_code == 422 and 'href="#at"' in html and typed in html
        answer = anna.post(path, True, later="1", at="16.00")
        assert state(console, made.id) is State.APPROVED and "It will be sent by itself at 16:00" in said(answer)
        answer = anna.post(path, True)
        assert state(console, made.id) is State.SENDING and "is being sent to 5 people" in said(answer)

    def test_progress_is_what_has_gone_out_and_never_what_was_made(self, console: Console, anna: Browser) -> None:
        made = sent(console)
        part = f"/console/broadcasts/{made.id}/progress"
        assert "0 of 5 have gone out or are over: 0 %" in said(anna.page(part))
        assert "Rate, last minute - Time left -" in said(anna.page(part))
        console.running.clock.pass_time(seconds=10)
        with console.service.database.write() as connection:
            connection.execute(
                text("UPDATE deliveries SET state = 'accepted', claimed_at = :at WHERE id <= 2"),
                {"at": NOW.timestamp() + 5},
            )
            connection.execute(
                text("UPDATE deliveries SET state = 'sending', claimed_at = :at WHERE id = 3"),
                {"at": NOW.timestamp() + 5},
            )
        page = said(anna.page(part))
        assert "2 of 5 have gone out or are over: 40 %" in page
        assert "0.2 a second" in page and "about 15 s" in page
        assert '<progress id="progress-2" max="5" value="2">40 %</progress>' in anna.page(part)
        assert "2 of 5 have gone out" in anna.page(f"{part}?summary=1")
        console.running.clock.pass_time(minutes=5)
        assert "Rate, last minute - Time left -" in said(anna.page(part))

    def test_only_the_summary_is_spoken(self, console: Console, anna: Browser) -> None:
        html = anna.page(f"/console/broadcasts/{sent(console).id}")
        live = re.findall(r'<(\w+)[^>]*aria-live="polite"', html)
        assert live == ["p"]


class TestUnderWay:
    PAGES = ("/console/broadcasts", "/console/exercises", "/console/points", "/console/accessibility")

    def test_stop_pause_and_correct_are_on_every_page_while_something_is_sent(
        self, console: Console, anna: Browser
    ) -> None:
        for page in self.PAGES:
            assert "STOP broadcast" not in anna.page(page)
        made = sent(console)
        for page in (*self.PAGES, "/console/broadcasts/under-way"):
            html = anna.page(page)
            said_there = said(html)
            assert "Being sent: 0 %" in said_there and "Vatten vid torget" in said_there, page
            assert f"STOP broadcast {made.id}" in said_there, page
            for label in ("Pause", "Correct"):  # short to the eye, whole to the ear
                assert re.search(rf'aria-label="{label} broadcast {made.id}">{label}<', html), page

    def test_one_tap_pauses_resumes_and_stops_and_says_so(self, console: Console, anna: Browser) -> None:
        made = sent(console)
        path = f"/console/broadcasts/{made.id}"
        assert "is paused" in said(anna.post(f"{path}/pause", True))
        assert f"Resume broadcast {made.id}" in anna.page("/console/exercises")
        assert "goes on being sent" in said(anna.post(f"{path}/resume", True))
        with console.service.database.write() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'sent' WHERE id = 1"))
        answer = said(anna.post(f"{path}/stop", True))
        assert f"STOPPED. Of broadcast {made.id} nothing more is sent; 1 message had gone out." in answer
        assert state(console, made.id) is State.STOPPED
        assert "STOPPED" in said(anna.post(f"{path}/stop", True))  # of two who press at once, both have stopped it
        assert "STOP broadcast" not in anna.page("/console/exercises")

    def test_others_see_it_without_buttons(self, console: Console, anna: Browser) -> None:
        made = sent(console)
        viewer = english(console.browser(Role.VIEWER, "vera"))
        page = viewer.page("/console/broadcasts")
        assert "Being sent" in page and "STOP broadcast" not in page
        assert viewer.post(f"/console/broadcasts/{made.id}/stop").status_code == 403

    def test_at_most_three_are_shown_the_newest(self, console: Console, anna: Browser) -> None:
        made = [sent(console).id for _ in range(4)]
        shown = re.findall(r"STOP broadcast (\d+)", anna.page("/console/broadcasts/under-way"))
        assert [int(id) for id in shown] == made[:0:-1]

    def test_a_poll_does_not_keep_anybody_signed_in(self, console: Console, anna: Browser) -> None:
        view = console.running.app.view_functions["console.broadcasts_under_way"]
        assert view.access.polls  # type: ignore[attr-defined]
        assert console.guest().get("/console/broadcasts/under-way").status_code == 401

    def test_correcting_shows_what_will_be_sent_and_then_sends_just_that(self, console: Console, anna: Browser) -> None:
        made = sent(console)
        with console.service.database.write() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'sent' WHERE id < 3"))
        path = f"/console/broadcasts/{made.id}/correct"
        page = unescape(anna.page(path))
        _, texts, reached = announcer(console).correction(ANNA, made.id, console.running.clock.now)
        assert (
            reached == 2
            and "It has reached 2 so far" in said(page)
            and all(text_of in page for text_of in texts.values())
        )
        assert state(console, made.id) is State.SENDING  # looking stops nothing
        answer = said(anna.post(path, True))
        correction = console.service.tracker.newest(ANNA, 1)[0]
        assert dict(correction.texts) == dict(texts) and correction.recipients == 2
        assert f"The correction {correction.id} is being sent to 2 people" in answer
        assert state(console, made.id) is State.STOPPED
        assert f"Corrected by {correction.id}" in said(anna.page("/console/broadcasts"))

    def test_a_correction_of_ones_own_words_may_wait_but_stops_at_once(self, console: Console, anna: Browser) -> None:
        made = sent(console)
        with console.service.database.write() as connection:
            connection.execute(text("UPDATE deliveries SET state = 'sent'"))
        path = f"/console/broadcasts/{made.id}/correct"
        assert anna.post(path, own="1", text_sv=" ").status_code == 422
        assert state(console, made.id) is State.SENDING
        answer = said(anna.post(path, True, own="1", text_sv="Hallen är stängd.", fallback="sv"))
        assert "waits: somebody else must approve it" in answer
        assert state(console, made.id) is State.STOPPED

    def test_only_what_has_begun_can_be_corrected(self, console: Console, anna: Browser) -> None:
        made = draft(console)
        assert anna.get(f"/console/broadcasts/{made.id}/correct").status_code == 409
        assert anna.get("/console/broadcasts/99/correct").status_code == 404


class TestList:
    def test_it_is_filtered_by_state_and_what_waits_comes_first(self, console: Console, anna: Browser) -> None:
        drafted = draft(console)
        waiting = announcer(console).submit(ANNA, draft(console, texts={"sv": "Väntar här"}).id, NOW)[0]
        page = anna.page("/console/broadcasts")
        assert page.index(f"/broadcasts/{waiting.id}") < page.index(f"/broadcasts/{drafted.id}")
        only = anna.page("/console/broadcasts?state=draft")
        assert f"/broadcasts/{drafted.id}" in only and "Väntar här" not in only
        assert "There are none." in anna.page("/console/broadcasts?state=done")
        assert anna.get("/console/broadcasts?state=nonsense").status_code == 200

    def test_what_is_not_there_is_not_found(self, anna: Browser) -> None:
        for path in ("/console/broadcasts/99", "/console/broadcasts/1", "/console/broadcasts/99/edit"):
            assert anna.get(path).status_code == 404
        assert anna.get("/console/broadcasts/99/progress").status_code == 404


class TestExercise:
    def test_while_one_goes_on_only_its_broadcasts_are_offered_to_be_sent(
        self, console: Console, anna: Browser
    ) -> None:
        real, played = draft(console), draft(console, exercise=True)
        assert "none goes on" in said(anna.page(f"/console/broadcasts/{played.id}"))
        assert "Submit version" not in anna.page(f"/console/broadcasts/{played.id}")
        with console.service.database.write() as connection:
            exercises.begin(connection, "Höstövning", "anna", NOW.timestamp())
        page = anna.page(f"/console/broadcasts/{real.id}")
        assert "nothing real is sent until somebody ends the exercise" in said(page) and "Submit version" not in page
        assert "Change it" in page
        assert anna.post(f"/console/broadcasts/{real.id}/submit", version="1").status_code == 409
        assert "Submit version 1" in anna.page(f"/console/broadcasts/{played.id}")
        anna.post(f"/console/broadcasts/{played.id}/submit", version="1")
        anna.post(f"/console/broadcasts/{played.id}/send")
        assert state(console, played.id) is State.SENDING
        console.running.clock.now += timedelta(seconds=1)
        assert "EXERCISE" in said(anna.page("/console/broadcasts/under-way"))

    def test_what_is_written_while_one_goes_on_is_an_exercise_unless_said_otherwise(
        self, console: Console, anna: Browser
    ) -> None:
        with console.service.database.write() as connection:
            exercises.begin(connection, "Höstövning", "anna", NOW.timestamp())
        assert 'name="exercise" value="1"' in anna.page("/console/broadcasts/new")
        anna.post("/console/broadcasts/new", text_sv="Hej", everyone="y", exercise="1", template="exercise")
        assert console.service.tracker.newest(ANNA, 1)[0].texts["sv"] == "ÖVNING. Hej /Stockholms stad ÖVNING"
        anna.post("/console/broadcasts/new", text_sv="Hej", everyone="y", exercise="0", template="free")
        assert not console.service.tracker.newest(ANNA, 1)[0].exercise
