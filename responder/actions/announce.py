"""Broadcasts that people write: drafted, submitted, approved, sent, stopped, corrected.

Each is one transaction with its line in the audit log; deliveries are made in the one that says they are being sent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.broadcast import (
    BEGUN,
    MIN_REASON,
    RULE,
    Audience,
    BadTarget,
    Broadcast,
    BroadcastError,
    Priority,
    Shown,
    State,
    Step,
    Template,
    after,
    existing,
    job,
    objection,
    subject,
    waits,
)
from responder.core.delivery import State as DeliveryState
from responder.core.estimate import BadTime, Counts, Estimate, Prices, Rates, estimate
from responder.core.exercise import ExerciseGoesOn, NoExercise, fits
from responder.core.places import Gazetteer
from responder.core.problem import Meanwhile, Phrase
from responder.core.scribe import Scribe, checked_fallback
from responder.core.wording import Wording
from responder.core.words import clean
from responder.settings import Settings
from responder.store import broadcasts as store
from responder.store.accounts import creators
from responder.store.engine import Database
from responder.store.exercises import current
from responder.store.pushes import take_as_told
from responder.store.queries import Clash, read_gazetteer
from responder.store.schedule import DAY

SCHEDULE = "schedule"  # who starts what was given a time
HOUR = timedelta(hours=1)
LATEST = HOUR.total_seconds()  # after its time, at which what was given one still starts by itself


class EditedMeanwhile(BroadcastError):
    """Somebody else changed it since it was read."""


class NotApproved(BroadcastError):
    """An approval by the wrong person or of the wrong version."""


class TooDear(BroadcastError):
    """It would cost more than is left of the day."""


class NobodyToHear(BroadcastError):
    """Nobody would get it."""


class ReasonMissing(BroadcastError):
    """Danger to life needs a reason that others understand."""


class HasGrown(BroadcastError):
    """It reaches so many by now that a second person must approve."""


class TooLate(BroadcastError):
    """Its time passed so long ago that what it says may be wrong by now."""


class NothingToCorrect(BroadcastError):
    """Nothing of it has gone out."""


class Otherwise(BroadcastError, Meanwhile):
    """What was ordered would be something else by now than what was shown."""


class NotUnknown(BroadcastError):
    """Only a delivery that nobody knows about can be resolved."""


class Outcome(StrEnum):
    """What an operator found out about an unknown delivery."""

    SENT = "sent"
    RESEND = "resend"


@dataclass(frozen=True, slots=True)
class Seen:
    """A broadcast with what operators look at. `estimate` is None where `lacking` says why there is none, and where it
    is being sent already or nobody wrote it.
    """

    broadcast: Broadcast
    estimate: Estimate | None
    lacking: Phrase | None
    progress: Mapping[str, int]
    unknown: Sequence[store.Delivery]


@dataclass(frozen=True)
class Announcer:
    """What operators do with broadcasts. Everything raises BroadcastError, Forbidden or StoreAway.

    `places`: what a transaction sees of the places; read anew each time, or kept in memory.
    """

    database: Database
    settings: Settings
    languages: Mapping[str, Wording]
    places: Callable[[Connection], Gazetteer] = read_gazetteer

    @property
    def scribe(self) -> Scribe:
        """What broadcasts say."""
        return Scribe(self.languages, self.settings.sender_name, self.settings.timezone)

    def draft(
        self,
        operator: Operator,
        to: Sequence[str],
        now: datetime,
        texts: Mapping[str, str] | None = None,
        fallback: str = "",
        template: Template = Template.FREE,
        exercise: bool = False,
    ) -> Broadcast:
        """A new one for the targets `to`; without `texts` it says what its template says."""
        require(operator, Permission.DRAFT)
        if template is Template.CORRECTION:
            raise BroadcastError("a correction belongs to what it corrects; open that broadcast and correct it")
        exercise = exercise or template is Template.EXERCISE
        if exercise and template is Template.FREE:
            template = Template.EXERCISE
        said, fallback = self.scribe.texts(template, exercise, texts or {}, fallback, now, now)
        with self.database.read() as connection:
            audience = Audience.parse(to, self.places(connection), store.point_ids(connection))
        with self.database.write() as connection:
            new = _new(operator, template, exercise, audience, said, fallback, now)
            return self._added(connection, operator, new, now)

    def edit(
        self,
        operator: Operator,
        id: int,
        now: datetime,
        version: int | None = None,
        to: Sequence[str] = (),
        texts: Mapping[str, str] | None = None,
        fallback: str = "",
        whole: bool = False,
    ) -> Broadcast:
        """Change what is given, leave the rest: a draft again, its approval void. `version`: the one that was read;
        `whole`: the texts, the fallback and the targets are all there shall be.
        """
        require(operator, Permission.DRAFT)
        with self._writing(id) as (connection, was):
            if not was.written:
                raise BroadcastError(
                    "broadcast {id} tells residents what has changed; nobody wrote it, and nobody can edit it", id=id
                )
            state = after(was.state, Step.EDIT)
            if version is not None and version != was.version:
                raise EditedMeanwhile(
                    "{who} edited broadcast {id} meanwhile: it is version {version}, not {read}; read it and try again",
                    who=was.editors[-1],
                    id=id,
                    version=was.version,
                    read=version,
                )
            said = {**({} if whole else was.texts), **self.scribe.checked(texts or {}, was.exercise)}
            if not said:
                raise BroadcastError("no text; write one, or choose a template that has one")
            new = replace(
                was,
                state=state,
                version=was.version + 1,
                texts=said,
                fallback=checked_fallback(fallback if whole else fallback or was.fallback, said),
                audience=self._retargeted(connection, was, to, whole),
                editors=(*(name for name in was.editors if name != operator.name), operator.name),
                approved_by="",
                approved_version=0,
                reason="",
                send_at=None,
            )
            store.drop_due(connection, job(id), now.timestamp())
            return store.change_broadcast(connection, operator.name, Step.EDIT, was, new, now)

    def submit(
        self, operator: Operator, id: int, now: datetime, danger: str = "", version: int | None = None
    ) -> tuple[Broadcast, Estimate]:
        """Count and price it anew; it then waits for a second person, or is approved by the rule.

        `danger`: why it cannot wait, where there is danger to life. `version`: the one that was read.
        """
        require(operator, Permission.DRAFT)
        danger = _reason(danger) if danger else ""
        with self.database.read() as connection:  # counting a million must not keep residents waiting
            read = self._read(connection, id)
            after(read.state, Step.SUBMIT)
            counts = store.counts(connection, self._selection(connection, read, now))
        with self._writing(id) as (connection, was):
            after(was.state, Step.SUBMIT)
            if was.version != read.version or version not in (None, was.version):
                raise EditedMeanwhile(
                    "{who} edited broadcast {id} at the same moment; read it again", who=was.editors[-1], id=id
                )
            return self._submitted(connection, operator, was, counts, now, danger)

    def approve(self, operator: Operator, id: int, version: int, now: datetime) -> Broadcast:
        """Approve exactly `version`, as somebody who had no hand in it."""
        require(operator, Permission.APPROVE)
        with self._writing(id) as (connection, was):
            return self._approved(connection, operator, was, version, now)

    def _approved(
        self, connection: Connection, operator: Operator, was: Broadcast, version: int, now: datetime, how: str = ""
    ) -> Broadcast:
        state = after(was.state, Step.APPROVE)
        why = objection(operator, was.writers, creators(connection), version, was.version)
        if why:
            raise NotApproved("broadcast {id}: {why}", id=was.id, why=why)
        new = replace(was, state=state, approved_by=operator.name, approved_version=version)
        approved = store.change_broadcast(connection, operator.name, Step.APPROVE, was, new, now, how)
        return approved if approved.written else self._started(connection, operator.name, approved, now)

    def hasten(self, operator: Operator, id: int, danger: str, now: datetime, version: int | None = None) -> Broadcast:
        """Alone approve what waits for a second person, for danger to life; a push of openings then goes out.

        `version`: the one that was read.
        """
        require(operator, Permission.SEND)
        danger = _reason(danger)
        with self._writing(id) as (connection, was):
            state = after(was.state, Step.APPROVE)
            if version not in (None, was.version):
                raise EditedMeanwhile(
                    "{who} edited broadcast {id} at the same moment; read it again", who=was.editors[-1], id=id
                )
            _in_its_world(connection, was)
            new = replace(was, state=state, approved_by=RULE, approved_version=was.version, reason=danger)
            approved = store.change_broadcast(connection, operator.name, Step.APPROVE, was, new, now, danger)
            return approved if approved.written else self._started(connection, operator.name, approved, now)

    def return_(self, operator: Operator, id: int, now: datetime, why: str = "") -> Broadcast:
        """Back to who wrote it."""
        return self._moved(operator, Permission.APPROVE, id, Step.RETURN, now, why)

    def reject(self, operator: Operator, id: int, now: datetime, why: str = "") -> Broadcast:
        """Not this, and not in another wording either."""
        return self._moved(operator, Permission.APPROVE, id, Step.REJECT, now, why)

    def send(self, operator: Operator, id: int, now: datetime, at: datetime | None = None) -> Broadcast:
        """Send what is approved, or leave it for `at` (in UTC)."""
        require(operator, Permission.SEND)
        with self._writing(id) as (connection, was):
            after(was.state, Step.SEND)
            store.drop_due(connection, job(id), now.timestamp())
            if at is None:
                return self._started(connection, operator.name, was, now)
            if at <= now:
                raise BadTime(
                    "{time} UTC has passed; choose a later time for broadcast {id}", time=f"{at:%Y-%m-%d %H:%M}", id=id
                )
            _in_its_world(connection, was)
            store.set_due(connection, job(id), at.timestamp())
            return store.change_broadcast(
                connection, operator.name, "schedule", was, replace(was, send_at=at.timestamp()), now
            )

    def start_due(self, connection: Connection, id: int, now: datetime) -> bool:
        """Start a scheduled one whose time has come; False if it was stopped, edited, moved or has grown meanwhile, if
        nobody could start it for more than LATEST, or if an exercise goes on that it is no part of.
        """
        was = store.read_broadcast(connection, id)
        if not was or was.state is not State.APPROVED or was.send_at is None or was.send_at > now.timestamp():
            return False
        try:
            with connection.begin_nested():
                if now.timestamp() - was.send_at > LATEST:
                    raise TooLate("the time of broadcast {id} passed long ago; read it again before it is sent", id=id)
                self._started(connection, SCHEDULE, was, now)
        except (TooLate, HasGrown, BadTarget, ExerciseGoesOn, NoExercise) as error:
            store.change_broadcast(connection, SCHEDULE, "not sent", was, replace(was, send_at=None), now, str(error))
            return False
        return True

    def pause(self, operator: Operator, id: int, now: datetime) -> Broadcast:
        """Send nothing more for now."""
        return self._moved(operator, Permission.SEND, id, Step.PAUSE, now)

    def resume(self, operator: Operator, id: int, now: datetime) -> Broadcast:
        """Go on sending."""
        return self._moved(operator, Permission.SEND, id, Step.RESUME, now)

    def stop(self, operator: Operator, id: int, now: datetime) -> Broadcast:
        """Send nothing more, ever."""
        return self._moved(operator, Permission.SEND, id, Step.STOP, now)

    def correct(
        self,
        operator: Operator,
        id: int,
        now: datetime,
        texts: Mapping[str, str] | None = None,
        fallback: str = "",
    ) -> Broadcast:
        """Stop it, and tell exactly those whom it reached that it was wrong: at once, unless `texts` make it wait."""
        require(operator, Permission.DRAFT)
        require(operator, Permission.SEND)
        counts: Counts = {}  # what has a sentence in every language and never waits goes out uncounted
        if texts:
            with self.database.read() as connection:
                counts = store.counts(connection, store.Selection(corrects=id))
        with self._writing(id) as (connection, was):
            began = _begun(was)
            if was.state is not State.STOPPED:
                self._stopped(connection, operator, was, now)
            said, fallback = self._correction(was, began, now, texts or {}, fallback)
            new = _new(operator, Template.CORRECTION, was.exercise, Audience(), said, fallback, now)
            added = self._added(connection, operator, replace(new, corrects=id), now)
            submitted, _ = self._submitted(connection, operator, added, counts, now, free=bool(texts))
            if submitted.state is State.SUBMITTED:
                return submitted
            return self._started(connection, operator.name, submitted, now)

    def correction(self, operator: Operator, id: int, now: datetime) -> tuple[Broadcast, Mapping[str, str], int]:
        """(what is wrong, the prewritten correction by language, how many it would reach): what `correct` would do."""
        require(operator, Permission.SEND)
        with self.database.read() as connection:
            was = self._read(connection, id)
            said, _ = self._correction(was, _begun(was), now, {}, "")
            return was, said, sum(store.counts(connection, store.Selection(corrects=id)).values())

    # --- by phone: each in the transaction of the reply ----------------------------------------------------------

    def foresee(
        self, operator: Operator, template: Template, to: Sequence[str], now: datetime
    ) -> tuple[Broadcast, Counts]:
        """(what would be submitted, whom it would reach now); `to`: targets, none for a correction of the last one of
        theirs.
        """
        require(operator, Permission.DRAFT)
        with self.database.read() as connection:
            new = self._ordered(connection, operator, template, to, now)
            _in_its_world(connection, new)
            counts = store.counts(connection, self._selection(connection, new, now))
        if not counts and new.corrects is None:
            raise NobodyToHear(_nobody(new))
        return new, counts

    def order(
        self, connection: Connection, operator: Operator, template: Template, to: Sequence[str], counts: Counts,
        now: datetime, how: str, shown: Shown,
    ) -> Broadcast:  # fmt: skip
        """Draft and submit what was `shown`, or raise Otherwise; it waits for a second person, however few it reaches
        (`counts`, as `foresee` found them: counting a million must not keep residents waiting). What a correction
        corrects is stopped at once.
        """
        require(operator, Permission.DRAFT)
        at = datetime.fromtimestamp(shown.at, UTC)  # by the clock of then, so that the same order has the same words
        new = replace(self._ordered(connection, operator, template, to, at), created_at=now.timestamp())
        if (new.corrects, new.exercise, new.texts) != (shown.corrects, shown.exercise, shown.texts):
            raise Otherwise("something has changed meanwhile; order it again")
        if new.corrects is not None:
            require(operator, Permission.SEND)
            wrong = self._read(connection, new.corrects)
            if wrong.state is not State.STOPPED:
                self._stopped(connection, operator, wrong, now, how)
        added = self._added(connection, operator, new, now)
        return self._submitted(connection, operator, added, counts, now, always=how)[0]

    def waiting(self, operator: Operator, id: int) -> tuple[Broadcast, int]:
        """(what waits for a second person, how many it reaches by the count when it was submitted). Raises NotApproved
        if `operator` may not approve it.
        """
        require(operator, Permission.APPROVE)
        with self.database.read() as connection:
            was = self._read(connection, id)
            after(was.state, Step.APPROVE)
            why = objection(operator, was.writers, creators(connection), was.version, was.version)
            if why:
                raise NotApproved("broadcast {id}: {why}", id=id, why=why)
            _in_its_world(connection, was)
            return was, was.recipients

    def approve_and_send(
        self, connection: Connection, operator: Operator, id: int, version: int, now: datetime, how: str
    ) -> Broadcast:
        """Approve exactly `version` and send it."""
        require(operator, Permission.APPROVE)
        with _clashes(id):
            approved = self._approved(connection, operator, self._read(connection, id), version, now, how)
            return self._started(connection, operator.name, approved, now) if approved.written else approved

    def stoppable(self, operator: Operator, id: int) -> Broadcast:
        """What `stop_in` would stop."""
        require(operator, Permission.SEND)
        with self.database.read() as connection:
            was = self._read(connection, id)
        after(was.state, Step.STOP)
        return was

    def stop_in(
        self, connection: Connection, operator: Operator, id: int, version: int, now: datetime, how: str
    ) -> Broadcast:
        """Send nothing more of it, ever. Raises Otherwise if it says something else than in `version`."""
        require(operator, Permission.SEND)
        with _clashes(id):
            was = self._read(connection, id)
            if was.version != version:
                raise Otherwise("something has changed meanwhile; order it again")
            return self._stopped(connection, operator, was, now, how)

    def _ordered(
        self, connection: Connection, operator: Operator, template: Template, to: Sequence[str], now: datetime
    ) -> Broadcast:
        """What an order by phone would have drafted, with the texts of its template."""
        if template is Template.CORRECTION:
            id = store.last_begun_of(connection, operator.name)
            if id is None:
                raise NothingToCorrect("nothing of yours has gone out, so nothing needs correcting")
            was = self._read(connection, id)
            said, fallback = self._correction(was, _begun(was), now, {}, "")
            return replace(_new(operator, template, was.exercise, Audience(), said, fallback, now), corrects=id)
        exercise = template is Template.EXERCISE or current(connection) is not None
        said, fallback = self.scribe.texts(template, exercise, {}, "", now, now)
        audience = Audience.parse(to, self.places(connection), store.point_ids(connection))
        return _new(operator, template, exercise, audience, said, fallback, now)

    def _correction(
        self, was: Broadcast, began: float, now: datetime, texts: Mapping[str, str], fallback: str
    ) -> tuple[dict[str, str], str]:
        about = datetime.fromtimestamp(began, UTC)
        wrong = {code: was.texts.get(code, was.texts.get(was.fallback, "")) for code in self.languages}
        return self.scribe.texts(Template.CORRECTION, was.exercise, texts, fallback, about, now, wrong)

    def resolve(self, operator: Operator, delivery: int, outcome: Outcome, now: datetime) -> None:
        """Say what became of an unknown delivery: it was sent, or it shall be sent again."""
        require(operator, Permission.SEND)
        with self.database.write() as connection:
            found = store.read_delivery(connection, delivery)
            if found is None:
                raise NotUnknown("there is no delivery {id}; check its number", id=delivery)
            if found.state != "unknown":
                state = DeliveryState(found.state)
                raise NotUnknown("delivery {id} is {state}, not unknown; nothing needs doing", id=delivery, state=state)
            try:
                if outcome is Outcome.SENT:
                    store.settle_unknown(connection, delivery)
                else:
                    self._reopened(connection, operator, found.broadcast_id, now)
                    store.queue_unknown(connection, delivery)
            except Clash:
                raise NotUnknown(
                    "delivery {id} was settled by somebody else at the same moment; look at it again", id=delivery
                ) from None
            new = "accepted" if outcome is Outcome.SENT else "queued"
            line = ('{"state": "unknown"}', f'{{"state": "{new}"}}')
            store.add_line(connection, now, operator.name, f"resolve {outcome}", f"delivery:{delivery}", *line)

    def show(self, operator: Operator, id: int, now: datetime) -> Seen:
        """One of them; before it is sent with what it would come to now."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            found = self._read(connection, id)
            progress, unknown = store.progress(connection, id), store.read_deliveries(connection, "unknown", id, 20)
            if found.started_at is not None or not found.written:
                return Seen(found, None, None, progress, unknown)
            try:
                counts = store.counts(connection, self._selection(connection, found, now))
                return Seen(found, self._estimate(found, counts, now), None, progress, unknown)
            except BroadcastError as error:
                return Seen(found, None, error.phrase, progress, unknown)

    def made(self, operator: Operator, broadcast: Broadcast, now: datetime) -> Estimate | None:
        """What a broadcast that people wrote comes to, by the deliveries that were made of it."""
        require(operator, Permission.VIEW)
        with self.database.read() as connection:
            counts = store.made_of(connection, broadcast.id)
        return self._estimate(broadcast, counts, now) if broadcast.written and counts else None

    def _submitted(
        self,
        connection: Connection,
        operator: Operator,
        was: Broadcast,
        counts: Counts,
        now: datetime,
        danger: str = "",
        free: bool = True,
        always: str = "",
    ) -> tuple[Broadcast, Estimate]:
        """Submitted, and approved by the rule if it need not wait. A correction is never too dear, nor for too few.

        `always`: it waits in any case, since it was ordered so ("via sms").
        """
        _in_its_world(connection, was)
        priced = self._estimate(was, counts, now)
        if not was.corrects:
            if not priced.recipients:
                raise NobodyToHear("broadcast {id} would reach nobody: {why}", id=was.id, why=_nobody(was))
            self._afford(connection, priced, now)
        hold = bool(always) or waits(
            Template(was.template),
            priced.recipients,
            self._recent(connection, {operator.name, *was.writers}, was.id, now),
            self.settings.approve_above,
            free,
            bool(danger),
        )
        new = replace(
            was,
            state=after(was.state, Step.SUBMIT),
            recipients=priced.recipients,
            submitted_at=now.timestamp(),
            reason=danger,
        )
        store.change_broadcast(connection, operator.name, Step.SUBMIT, was, new, now, danger or always)
        if hold:
            return new, priced
        approved = replace(new, state=after(new.state, Step.APPROVE), approved_by=RULE, approved_version=new.version)
        return store.change_broadcast(connection, RULE, Step.APPROVE, new, approved, now, danger), priced

    def _started(self, connection: Connection, who: str, was: Broadcast, now: datetime) -> Broadcast:
        """Being sent, with its deliveries. What the rule approved must still be what it approves."""
        state = after(was.state, Step.SEND)
        _in_its_world(connection, was)
        if was.approved_version != was.version:
            raise NotApproved(
                "broadcast {id}: version {version} is not approved; edit and submit it again",
                id=was.id,
                version=was.version,
            )
        new = replace(was, state=state)  # a push has its deliveries, and has begun when the first is out
        if was.written:
            selection = self._selection(connection, was, now)
            recipients = store.queue(connection, was.id, selection, now.timestamp())
            recent = self._recent(connection, set(was.writers), was.id, now)
            above = self.settings.approve_above
            # a correction or danger to life that the rule let through does not wait later either
            by_size = was.approved_by == RULE and not was.reason and not was.corrects
            if by_size and waits(Template(was.template), recipients, recent, above, free=True):
                raise HasGrown(
                    "broadcast {id} was approved without a second person, but with it {recipients} would now be "
                    "reached in an hour, and above {above} a second person must approve; edit and submit it again",
                    id=was.id,
                    recipients=recipients + recent,
                    above=above,
                )
            new = replace(new, recipients=recipients, started_at=now.timestamp())
        return store.change_broadcast(connection, who, Step.SEND, was, new, now)

    def _moved(
        self, operator: Operator, permission: Permission, id: int, step: Step, now: datetime, why: str = ""
    ) -> Broadcast:
        require(operator, permission)
        with self._writing(id) as (connection, was):
            if step is Step.STOP:
                return self._stopped(connection, operator, was, now)
            new = replace(was, state=after(was.state, step))
            if step is Step.RESUME:
                _in_its_world(connection, was)
            if step is Step.REJECT:
                take_as_told(connection, id)
            return store.change_broadcast(connection, operator.name, step, was, new, now, clean(why))

    def _stopped(
        self, connection: Connection, operator: Operator, was: Broadcast, now: datetime, how: str = ""
    ) -> Broadcast:
        store.drop_due(connection, job(was.id), now.timestamp())
        take_as_told(connection, was.id)
        new = replace(was, state=after(was.state, Step.STOP), finished_at=now.timestamp())
        return store.change_broadcast(connection, operator.name, Step.STOP, was, new, now, how)

    def _reopened(self, connection: Connection, operator: Operator, id: int, now: datetime) -> None:
        """A delivery of this broadcast is sent again: not of one that was stopped, and one that is done goes on."""
        was = store.read_broadcast(connection, id)
        if was and was.state is State.STOPPED:
            raise BroadcastError("broadcast {id} is stopped; nothing of it is sent again", id=id)
        if was and was.kind != "system":
            _in_its_world(connection, was)
        if was and was.state is State.DONE:
            new = replace(was, state=after(was.state, Step.REOPEN), finished_at=None)
            store.change_broadcast(connection, operator.name, Step.REOPEN, was, new, now)

    @contextmanager
    def _writing(self, id: int) -> Iterator[tuple[Connection, Broadcast]]:
        """A transaction that has read the broadcast."""
        with self.database.write() as connection, _clashes(id):
            yield connection, self._read(connection, id)

    def _read(self, connection: Connection, id: int) -> Broadcast:
        return existing(store.read_broadcast(connection, id), id)

    def _added(self, connection: Connection, operator: Operator, new: Broadcast, now: datetime) -> Broadcast:
        added = replace(new, id=store.add_broadcast(connection, new))
        store.add_line(connection, now, operator.name, "draft", subject(added.id), "", store.broadcast_to_json(added))
        return added

    def _retargeted(self, connection: Connection, was: Broadcast, to: Sequence[str], whole: bool) -> Audience:
        if not to and (not whole or was.corrects is not None):
            return was.audience
        if was.corrects is not None:
            raise BadTarget(
                "a correction goes to those whom broadcast {id} reached, and to nobody else; name no others",
                id=was.corrects,
            )
        return Audience.parse(to, self.places(connection), store.point_ids(connection))

    def _selection(self, connection: Connection, broadcast: Broadcast, now: datetime) -> store.Selection:
        if broadcast.corrects is not None:
            return store.Selection(corrects=broadcast.corrects, exercise=broadcast.exercise)
        audience = broadcast.audience
        if audience.empty:
            raise BadTarget("broadcast {id} names nobody; choose whom it is for", id=broadcast.id)
        placed = audience.districts or audience.areas or audience.postcodes
        return store.Selection(
            everyone=audience.everyone,
            codes=audience.codes(self.places(connection)) if placed else frozenset(),
            points=audience.points,
            since=(now - timedelta(hours=self.settings.follow_up_hours)).timestamp(),
            exercise=broadcast.exercise,
        )

    def _estimate(self, broadcast: Broadcast, counts: Counts, now: datetime) -> Estimate:
        prices = Prices(self.settings.price_segment, self.settings.price_call)
        rates = Rates(self.settings.send_rate, self.settings.call_rate)
        return estimate(broadcast.texts, broadcast.fallback, counts, prices, rates, now)

    def _afford(self, connection: Connection, priced: Estimate, now: datetime) -> None:
        settings, gone = self.settings, store.spent(connection, int(now.timestamp() // DAY))
        left = settings.spend_per_day - gone
        if priced.price > left:
            raise TooDear(
                "it would cost {price} {currency}, but {left} are left of the {limit} that may be spent today ({spent} "
                "are spent); reach fewer, shorten it, or have the limit raised",
                price=f"{priced.price:.2f}",
                currency=settings.currency,
                limit=f"{settings.spend_per_day:.2f}",
                left=f"{max(left, 0):.2f}",
                spent=f"{gone:.2f}",
            )

    def _recent(self, connection: Connection, names: set[str], other_than: int, now: datetime) -> int:
        """Recipients in the last hour of whoever of `names` had most: two do not share a limit by editing in turn."""
        since = (now - HOUR).timestamp()
        return max(store.recent_recipients(connection, name, since, other_than) for name in names)


def _in_its_world(connection: Connection, broadcast: Broadcast) -> None:
    """An exercise is sent while one goes on, anything real while none does. Raises ExerciseGoesOn, NoExercise."""
    going = current(connection)
    fits(broadcast, going.name if going else "")


@contextmanager
def _clashes(id: int) -> Iterator[None]:
    """A clash, told to whoever came second."""
    try:
        yield
    except Clash:
        raise EditedMeanwhile(
            "somebody changed broadcast {id} at the same moment; read it and try again", id=id
        ) from None


def _begun(was: Broadcast) -> float:
    """When residents heard of it first. Raises NothingToCorrect."""
    began = was.started_at or (None if was.written else was.created_at)
    if was.state not in BEGUN or began is None:
        raise NothingToCorrect(
            "broadcast {id} is {state}: nothing of it has gone out, so nothing needs correcting",
            id=was.id,
            state=was.state,
        )
    return began


def _new(
    operator: Operator,
    template: Template,
    exercise: bool,
    audience: Audience,
    texts: Mapping[str, str],
    fallback: str,
    now: datetime,
) -> Broadcast:
    return Broadcast(
        id=0,
        kind="message",
        template=template.value,
        exercise=exercise,
        state=State.DRAFT,
        version=1,
        priority=Priority.CORRECTION if template is Template.CORRECTION else Priority.REST,
        audience=audience,
        texts=texts,
        fallback=fallback,
        operator=operator.name,
        editors=(operator.name,),
        created_at=now.timestamp(),
    )


def _reason(danger: str) -> str:
    """Why something cannot wait for a second person, in words that are worth reading."""
    danger = clean(danger)
    if len(danger) < MIN_REASON:
        raise ReasonMissing(
            "danger to life: say why in at least {least} characters, '{reason}' is too short",
            least=MIN_REASON,
            reason=danger,
        )
    return danger


def _nobody(broadcast: Broadcast) -> Phrase:
    targets = broadcast.audience.tokens()
    if broadcast.exercise:
        return Phrase("nobody of those enrolled for exercises subscribes to {targets}; choose others", targets=targets)
    return Phrase("nobody subscribes to {targets}; choose others", targets=targets)
