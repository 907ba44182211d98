"""What nobody could make anything of: gathered by its words, learnt from, and answered by hand."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from responder.core.access import Operator, Permission, require
from responder.core.exercise import ExerciseGoesOn
from responder.core.memory import unpacked
from responder.core.numbers import can_be_answered, countries
from responder.core.places import MAX_CANDIDATES, Gazetteer, Place, PlaceKind, postcodes
from responder.core.problem import Phrase, Problem
from responder.core.scribe import Scribe
from responder.core.segments import cost
from responder.core.wording import Channel, Wording, plainly
from responder.core.words import clean, fold, hidden_numbers, swedish, words
from responder.settings import Settings
from responder.store import exercises, outbox
from responder.store import inbox as store
from responder.store.broadcasts import add_line
from responder.store.engine import Database
from responder.store.schedule import DAY
from responder.store.snapshot import Snapshot
from responder.store.vault import Vault, masked

MOST = 2000  # turns that are looked at
LONGEST_ALIAS = 40  # characters
MOST_WORDS = 4  # of an alias: names are looked for in runs of so many
SHORTEST = 2  # letters
_SERIAL = re.compile(r"[\w-]{8,64}")
_BY_SIZE = (PlaceKind.AREA, PlaceKind.STADSDEL, PlaceKind.MUNICIPALITY)


class BadAlias(Problem):
    """A word that no place may be called. Nothing was changed."""


class BadPlace(Problem):
    """No place is called so, or none that can have another name."""


class CannotAnswer(Problem):
    """An answer that cannot be sent. Nothing was."""


class NoSuchGroup(Problem):
    """Nothing of the kind has come in lately."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One text, or what was said or keyed in a call. `turn`: its id; `at` in UTC; `language`: "" if not known."""

    turn: str
    at: datetime
    channel: str
    text: str
    language: str
    sender_sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Everything that came in the same words, newest first. `id`: a keyed hash of them; `handled_by`: who dealt with it
    if nothing has come since.
    """

    id: str
    words: str
    asked: tuple[Asked, ...]
    handled_by: str = ""

    @property
    def newest(self) -> Asked:
        """The last to come."""
        return self.asked[0]

    @property
    def languages(self) -> list[tuple[str, int]]:
        """(language, how many), most first; "" where it is not known."""
        return Counter(one.language for one in self.asked).most_common()

    @property
    def channels(self) -> list[tuple[str, int]]:
        """(channel, how many), most first."""
        return Counter(one.channel for one in self.asked).most_common()


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is, the newest group first. `unreadable`: turns whose key is gone; `more`: older ones were not looked
    at.
    """

    groups: tuple[Group, ...]
    looked_at: int
    unreadable: int
    more: bool


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote: `number` masked, `person` the same for the same number; `why_not`: why they cannot be answered, None
    if they can; `answered_at`: when this was answered by hand.
    """

    asked: Asked
    number: str
    person: int
    why_not: Phrase | None
    answered_at: datetime | None = None


@dataclass(frozen=True)
class Inbox:
    """What operators do about it. Everything raises Problem, Forbidden or StoreAway."""

    database: Database
    vault: Vault
    snapshot: Snapshot
    settings: Settings
    languages: Mapping[str, Wording]

    def read(self, operator: Operator, now: datetime) -> Seen:
        """Everything of the last days, by its words."""
        require(operator, Permission.ANSWER)
        since = now.timestamp() - self.settings.retain_days * DAY
        with self.database.read() as connection:
            missed = store.missed(connection, since, MOST + 1)
            handled = store.handled(connection)
        found: dict[str, list[Asked]] = {}
        unreadable = 0
        for one in missed[:MOST]:
            asked = self._asked(one)
            if asked is None:
                unreadable += 1
            else:
                found.setdefault(_key(asked.text), []).append(asked)
        groups = tuple(self._group(key, asked, handled) for key, asked in found.items())
        return Seen(groups, min(len(missed), MOST), unreadable, len(missed) > MOST)

    def group(self, operator: Operator, id: str, now: datetime) -> Group:
        """One of them. Raises NoSuchGroup."""
        for group in self.read(operator, now).groups:
            if group.id == id:
                return group
        raise NoSuchGroup("nothing of that kind has come in lately; it may have been deleted with age, or by STOPP")

    def senders(self, operator: Operator, group: Group) -> list[Sender]:
        """Who wrote what is in `group`, newest first."""
        require(operator, Permission.ANSWER)
        numbers = {one.turn: self._opened(one.sender_sealed) for one in group.asked}
        with self.database.read() as connection:
            return self._senders(connection, group.asked, numbers)

    # --- learning a name -----------------------------------------------------------------------------------------

    def places(self, operator: Operator, said: str, now: datetime) -> tuple[list[Place], bool]:
        """(the places that `said` may name, whether there can be no doubt). Raises BadPlace if there is none."""
        require(operator, Permission.ANSWER)
        known = self.snapshot.read_if_changed(now).gazetteer
        said = clean(said)
        by_code = [place for place in known.places if place.code == said]
        named = by_code or [place for place in known.places if fold(_joined(said)) in _names(place)]
        found = named or list(known.recognise(said).places) if said else []
        real = {place.code: place for place in known.places}
        found = [real[code] for code in dict.fromkeys(place.code.partition("@")[0] for place in found)]
        able = [place for place in found if place.kind is not PlaceKind.POSTCODE]
        if found and not able:
            near = found[0].near or found[0].municipality
            raise BadPlace("a postcode cannot have another name; choose the place that it lies in ({near})", near=near)
        if not able:
            raise BadPlace("no place is called '{said}'; try another spelling, or a part of town", said=said)
        able.sort(key=lambda p: _BY_SIZE.index(p.kind) if p.kind in _BY_SIZE else len(_BY_SIZE))
        return able[: 2 * MAX_CANDIDATES], len(able) == 1 and bool(named)

    def add_alias(self, operator: Operator, alias: str, code: str, now: datetime, group: str = "") -> Place:
        """From now on residents mean the place `code` by `alias`; what is in `group` is dealt with. Raises BadAlias."""
        require(operator, Permission.ANSWER)
        alias = clean(alias)
        known = self.snapshot.read_if_changed(now).gazetteer
        place = next((p for p in known.places if p.code == code and p.kind is not PlaceKind.POSTCODE), None)
        if place is None:
            raise BadPlace("no place is called '{said}'; try another spelling, or a part of town", said=code)
        self._check(alias, place, known)
        with self.database.write() as connection:
            for other in store.aliases(connection):  # somebody may have been faster
                if fold(_joined(other.alias)) == fold(_joined(alias)):
                    raise BadAlias("'{alias}' has just been given to another place", alias=alias)
            store.add_alias(connection, alias, place.code, operator.name, now.timestamp())
            add_line(connection, now, operator.name, "alias", f"place:{place.code}", "", _json(alias=alias))
            if group:
                self._set_handled(connection, operator, group, now, now.timestamp())
        return place

    def aliases(self, operator: Operator) -> list[store.Alias]:
        """All that are in use, newest first."""
        require(operator, Permission.ANSWER)
        with self.database.read() as connection:
            return store.aliases(connection)

    def remove_alias(self, operator: Operator, id: int, now: datetime) -> store.Alias:
        """Nobody means the place by it any more."""
        require(operator, Permission.ANSWER)
        with self.database.write() as connection:
            gone = store.remove_alias(connection, id, operator.name, now.timestamp())
            if gone is None:
                raise BadAlias("there is no such alias; somebody else may have removed it")
            line = (f"place:{gone.place}", _json(alias=gone.alias), "")
            add_line(connection, now, operator.name, "alias removed", *line)
        return gone

    # --- answering by hand ---------------------------------------------------------------------------------------

    def signed(self, said: str, language: str) -> str:
        """`said` as it would be sent. Raises BadText."""
        code = language if language in self.languages else next(iter(self.languages))
        scribe = Scribe(self.languages, self.settings.sender_name, self.settings.timezone)
        return scribe.preview(said, code, exercise=False)

    def answer(self, operator: Operator, group: Group, said: str, serial: str, now: datetime, turn: str = "") -> int:
        """Send `said` to who wrote the `turn`, or to everybody in the group who can be answered and has not been, each
        number once; how many numbers. `serial` names this one answer: sent a second time it sends nothing, and is 0.
        """
        require(operator, Permission.ANSWER)
        if not _SERIAL.fullmatch(serial):
            raise CannotAnswer("this form is too old; load the page anew, and send it again")
        asked = [one for one in group.asked if turn in ("", one.turn)]
        if not asked:
            raise NoSuchGroup("nothing of that kind has come in lately; it may have been deleted with age, or by STOPP")
        language = asked[0].language if turn else group.languages[0][0]
        body = self.signed(said, language)
        numbers = {one.turn: self._opened(one.sender_sealed) for one in asked}
        with self.database.write() as connection:
            if exercises.current(connection):
                raise ExerciseGoesOn("an exercise goes on, and this would really be sent; end the exercise first")
            if store.is_sent(connection, serial):
                return 0
            to = self._recipients(self._senders(connection, asked, numbers), numbers, again=bool(turn))
            most = max(1, self.settings.approve_above)
            if len(to) > most:
                raise CannotAnswer(
                    "{n} numbers would be answered, and above {most} a second person must approve; write a broadcast",
                    n=len(to),
                    most=most,
                )
            for number, one in to.items():
                row = {
                    "hash": self.vault.newest(number), "sealed": self.vault.seal(number), "body": body,
                    "language": one.language or language, "turn": one.turn, "serial": serial, "now": now.timestamp(),
                }  # fmt: skip
                outbox.answer_by_hand(connection, row)
            after = _json(numbers=len(to), segments=cost(body).segments, text=hidden_numbers(body))
            add_line(connection, now, operator.name, "answer", f"inbox:{group.id}", "", after)
        return len(to)

    def set_handled(self, operator: Operator, id: str, seen: float, now: datetime) -> None:
        """Somebody has dealt with the group `id`, as far as it came until `seen` (seconds since 1970)."""
        require(operator, Permission.ANSWER)
        self.group(operator, id, now)
        with self.database.write() as connection:
            self._set_handled(connection, operator, id, now, min(seen, now.timestamp()))

    # --- within --------------------------------------------------------------------------------------------------

    def _set_handled(self, connection: Connection, operator: Operator, id: str, now: datetime, until: float) -> None:
        try:
            words_hash = bytes.fromhex(id)
        except ValueError:
            raise NoSuchGroup(
                "nothing of that kind has come in lately; it may have been deleted with age, or by STOPP"
            ) from None
        store.set_handled(connection, words_hash, operator.name, until)
        add_line(connection, now, operator.name, "dealt with", f"inbox:{id}", "", "")

    def _asked(self, missed: store.Missed) -> Asked | None:
        """None if the key is gone that it was sealed with."""
        try:
            text = self.vault.open(missed.body_sealed)
        except ValueError:
            return None
        state = self._opened(missed.state_sealed)
        language = unpacked(state).session.language if state else ""
        at = datetime.fromtimestamp(missed.at, UTC)
        return Asked(missed.id, at, missed.channel, text, language, missed.sender_sealed)

    def _opened(self, sealed: bytes) -> str:
        """What was sealed, "" if it was deleted or its key is gone."""
        try:
            return self.vault.open(sealed) if sealed else ""
        except ValueError:
            return ""

    def _group(self, key: str, asked: Sequence[Asked], handled: Mapping[bytes, tuple[float, str]]) -> Group:
        by = ""
        for words_hash in self.vault.hashes(f"words:{key}"):
            until, who = handled.get(words_hash, (0.0, ""))
            if until >= asked[0].at.timestamp():
                by = who
        return Group(self.vault.newest(f"words:{key}").hex(), key, tuple(asked), by)

    def _senders(self, connection: Connection, asked: Sequence[Asked], numbers: Mapping[str, str]) -> list[Sender]:
        """Who they are; `numbers` by turn."""
        hashes = {number: self.vault.hashes(number) for number in numbers.values() if number}
        stopped = outbox.suppressed(connection, {h for some in hashes.values() for h in some})
        answered = store.answered(connection)
        allowed = countries(self.settings.reply_countries)

        def why_not(one: Asked, number: str) -> Phrase | None:
            if one.channel != Channel.TEXT:
                return Phrase("it was a call")
            if not number:
                return Phrase("the number has been deleted, or its key is gone")
            if not stopped.isdisjoint(hashes[number]):
                return Phrase("the number has said STOPP")
            return None if can_be_answered(number, allowed) else Phrase("the number cannot be answered")

        people = {number: place for place, number in enumerate(dict.fromkeys(numbers.values()))}
        found = []
        for one in asked:
            number, at = numbers[one.turn], answered.get(one.turn)
            answered_at = datetime.fromtimestamp(at, UTC) if at else None
            shown = masked(number) if number else "-"
            found.append(Sender(one, shown, people[number], why_not(one, number), answered_at))
        return found

    def _recipients(self, senders: Sequence[Sender], numbers: Mapping[str, str], again: bool) -> dict[str, Asked]:
        """Number to the newest turn of it; `again`: also who has been answered."""
        to: dict[str, Asked] = {}
        done = {numbers[s.asked.turn] for s in senders if s.answered_at and not again}
        for one in senders:
            number = numbers[one.asked.turn]
            if one.why_not is None and number not in done:
                to.setdefault(number, one.asked)
        if to:
            return to
        if len(senders) == 1 and senders[0].why_not:
            raise CannotAnswer("nothing was sent: {why}", why=senders[0].why_not)
        raise CannotAnswer("nothing was sent: everybody who can be answered has been")

    def _check(self, alias: str, place: Place, known: Gazetteer) -> None:
        """Raises BadAlias unless `place` may be called `alias`."""
        said, letters = plainly(alias), sum(char.isalpha() for char in alias)
        if letters < SHORTEST or not _joined(alias):
            raise BadAlias("'{alias}' is too short; a name has at least {least} letters", alias=alias, least=SHORTEST)
        if len(alias) > LONGEST_ALIAS or len(said.split()) > MOST_WORDS:
            raise BadAlias(
                "a name has at most {most} characters and {words} words; leave out what is no name",
                most=LONGEST_ALIAS,
                words=MOST_WORDS,
            )
        if postcodes(alias) or sum(char.isdecimal() for char in alias) > 4:
            raise BadAlias("'{alias}' holds a postcode or a number; leave it out", alias=alias)
        for wording in self.languages.values():
            if wording.command(said) or wording.command(said.split()[0]):
                raise BadAlias("'{alias}' is a command that residents write; it can be no place", alias=alias)
            if len(said.split()) == 1 and wording.service(said):
                raise BadAlias("'{alias}' is a word for a service; it can be no place", alias=alias)
        if all(self._is_everyday(word, known) for word in said.split()):
            raise BadAlias("'{alias}' is an everyday word; half of all texts would be misread", alias=alias)
        for other in _named(known, alias):
            if other.code.partition("@")[0] == place.code:
                raise BadAlias("{place} is called '{alias}' already", place=place.name, alias=alias)
            raise BadAlias("'{alias}' means {place} already; one word cannot mean two", alias=alias, place=other.name)

    def _is_everyday(self, word: str, known: Gazetteer) -> bool:
        """Whether people write `word` in whatever they ask for."""
        return word in known.not_places or any(
            word in wording.hints or wording.command(word) or wording.service(word)
            for wording in self.languages.values()
        )


def _key(text: str) -> str:
    """What texts are gathered by: their words as they are compared, in order."""
    return " ".join(swedish(word) for word in words(text)) or clean(text).lower()


def _joined(name: str) -> str:
    return "".join(words(swedish(name)))


def _names(place: Place) -> set[str]:
    if place.kind is PlaceKind.POSTCODE:
        return set()
    return {fold(_joined(name)) for name in (place.name, *place.aliases)}


def _named(known: Gazetteer, alias: str) -> tuple[Place, ...]:
    """The places that are called so to the letter; a plain s at the end may be a genitive."""
    key = _joined(alias)
    for form in (key, key.removesuffix("s") if len(key) > 5 else key):
        if found := known.exact.get(form) or known.folded.get(fold(form)):
            return found
    return ()


def _json(**values: object) -> str:
    return json.dumps(values, ensure_ascii=False)
