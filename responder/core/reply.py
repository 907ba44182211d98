"""An answer in words: for a text, cut to its segment budget; for the phone, sentence by sentence.

What survives every cut is what gets somebody to an open door: name, address, state, until when, the first
services, and when that was checked. The rest is dropped in the order of `Part.drop`, the highest first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from responder.core.answer import Answer, AnswerKind, Offer
from responder.core.places import Place, PlaceKind
from responder.core.points import SERVICES, Kind, Point, YesNo
from responder.core.segments import cost
from responder.core.told import Lost
from responder.core.wording import Channel, Wording

FIRST_SERVICES = 3
MOST_LOST = 3  # closed doors that one message names
KEEP = 0


@dataclass(frozen=True)
class Manner:
    """How this service answers: names and numbers from the settings, and the clock on the wall (IANA zone)."""

    sender: str
    helpline: str
    zone: str
    stale_after: timedelta
    retain_days: int


@dataclass(frozen=True, slots=True)
class Voiceover:
    """What a reply is told with. `as_of`: from when the figures are, while the database is away; `keys_only`: whoever
    calls cannot answer by speaking.
    """

    manner: Manner
    now: datetime
    as_of: datetime | None = None
    keys_only: bool = False


class Part(NamedTuple):
    """A piece of a reply. `drop` 0 stays; the highest goes first, or is told as `short` if that is given.

    `line`: it begins a new line of a text.
    """

    key: str
    text: str
    drop: int = KEEP
    line: bool = False
    short: "Part | None" = None

    def mapped(self, change: Callable[[str], str]) -> "Part":
        """This part with `change` made to its text."""
        text, short = change(self.text), self.short and self.short.mapped(change)
        return self if text is self.text and short is self.short else self._replace(text=text, short=short)


def answer_text(
    answer: Answer, wording: Wording, over: Voiceover, offers: bool = True, before: str = ""
) -> tuple[str, int]:
    """The text of an answer within the language's segment budget, and how many of its points had no room.

    `offers`: with what else one can have. `before`: what the text says first; both share the larger budget.
    """
    open_now = answer.offers and answer.kind is not AnswerKind.OPENS_LATER and not before
    budget = wording.budget_open if open_now else wording.budget_other

    def parts(answer: Answer) -> list[Part]:
        told = [part for part in answer_parts(answer, wording, over, Channel.TEXT) if offers or not _offers(part)]
        return [Part("before", before), told[0]._replace(line=True), *told[1:]] if before else told

    text, left_out = fit(parts(answer), budget, wording.alphabet)
    untold = sum(part.key == "other" for part in left_out)
    if untold and not answer.left:
        roomy = replace(answer, offers=answer.offers[: len(answer.offers) - untold], left=untold)
        text, _ = fit(parts(roomy), budget, wording.alphabet)
    return text, untold


def answer_speech(answer: Answer, wording: Wording, over: Voiceover) -> list[Part]:
    """The sentences of an answer, in the order in which they are spoken."""
    parts = answer_parts(answer, wording, over, Channel.VOICE)
    return [part for part in parts if part.key not in ("sign", "more", "note") and not _offers(part)]


def news_text(lost: Sequence[Lost], answer: Answer, wording: Wording, over: Voiceover) -> str:
    """The text that tells somebody what has changed and what the answer is now, within the segment budget."""
    open_now = answer.offers and answer.kind is not AnswerKind.OPENS_LATER
    budget = wording.budget_open if open_now and not lost else wording.budget_other
    teller = _Teller(answer.place, wording, over, Channel.TEXT)
    parts = [
        *_news(lost, answer, teller),
        teller.part("news.stop", KEEP, True),
        teller.part("sign", KEEP, True, sender=wording.sender(over.manner.sender)),
    ]
    return fit(parts, budget, wording.alphabet)[0]


def news_speech(lost: Sequence[Lost], answer: Answer, wording: Wording, over: Voiceover) -> list[Part]:
    """The sentences of a call that tells the same, spoken once."""
    return list(_news(lost, answer, _Teller(answer.place, wording, over, Channel.VOICE)))


def _news(lost: Sequence[Lost], answer: Answer, teller: "_Teller") -> Iterator[Part]:
    sender = teller.wording.sender(teller.over.manner.sender)
    yield teller.part("news.head", now=_now(teller), place=teller.from_where, sender=sender)
    first = answer.offers[0].point.id if answer.offers else ""
    named = [one for one in lost if one.how == "closes" or one.point.id != first][:MOST_LOST]  # the answer says it too
    for one in named:
        yield teller.lost(one)
    for number, part in enumerate(answer_parts(answer, teller.wording, teller.over, teller.channel)):
        again = part.key in ("also.full", "also.moved") and any(one.point.name in part.text for one in named)
        if part.key not in ("sign", "more", "danger", "note") and not _offers(part) and not again:
            yield part if number else part._replace(line=True)


def _offers(part: Part) -> bool:
    return part.key.endswith(".subscribe")


def fit(parts: list[Part], budget: int, alphabet: Callable[[str], str]) -> tuple[str, list[Part]]:
    """(text, what was dropped): `parts` joined in `alphabet`, without the least needed until `budget` segments hold it.

    What was dropped in vain, before something longer had to go as well, comes back where there is room for it.
    """
    parts = [part.mapped(alphabet) for part in parts]
    told: list[Part | None] = list(parts)
    dropped: list[int] = []
    while _segments(told) > budget:
        index = max(range(len(told)), key=lambda i: part.drop if (part := told[i]) else KEEP)
        worst = told[index]
        if worst is None or worst.drop == KEEP:
            return _cut(_joined(told), budget), [parts[i] for i in dropped if told[i] is None]
        told[index] = worst.short
        dropped.append(index)
    for index in reversed(dropped):
        restored = [*told[:index], parts[index], *told[index + 1 :]]
        if _segments(restored) <= budget:
            told = restored
    return _joined(told), [parts[i] for i in dropped if told[i] is None]


def _segments(parts: list[Part | None]) -> int:
    return cost(_joined(parts)).segments


def _joined(parts: Sequence[Part | None]) -> str:
    return "".join(["\n" + part.text if part.line else " " + part.text for part in parts if part])[1:]


def _cut(text: str, budget: int) -> str:
    """Whole words only: half an address is a wrong address."""
    while cost(text).segments > budget:
        text = text[: max(text.rfind(" "), text.rfind("\n"), 0)]
    return text


def answer_parts(answer: Answer, wording: Wording, over: Voiceover, channel: Channel) -> Iterator[Part]:
    """Everything an answer can say, most needed first within its lines."""
    teller = _Teller(answer.place, wording, over, channel)
    if answer.kind is AnswerKind.NO_POINTS:
        yield teller.part("no_points.head", municipality=answer.place.municipality)
        yield teller.part("no_points.near" if answer.offers else "no_points.advice")
    if answer.offers and answer.kind is not AnswerKind.OPENS_LATER:
        yield from _open(answer, teller)
    elif answer.kind is AnswerKind.OPENS_LATER:
        yield from _later(answer, teller)
    elif answer.kind is AnswerKind.NONE_OPEN:
        yield from _none(answer, teller)
    elif answer.kind is AnswerKind.NOT_ACTIVATED:
        yield from _inactive(answer, teller)
    if answer.place.is_coarse:
        yield teller.part("coarse", drop=10, line=True, near=answer.place.near)
    if over.as_of:
        yield teller.part("snapshot", line=True, time=teller.moment(over.as_of))
    if answer.left:
        yield teller.part("more", drop=30)
    if answer.offers and answer.kind is AnswerKind.OPEN and not answer.skipped:
        yield teller.part("open.subscribe", 65)
    yield teller.part("danger", drop=60)
    yield teller.part("sign", drop=20, line=True, sender=wording.sender(over.manner.sender))


@dataclass(frozen=True)
class _Teller:
    place: Place
    wording: Wording
    over: Voiceover
    channel: Channel

    def part(self, key: str, /, drop: int = KEEP, line: bool = False, **values: str) -> Part:
        return Part(key, self.wording.say(key, self.channel, **values), drop, line)

    @property
    def from_where(self) -> str:
        return spoken_code(self.place.name) if self.channel is Channel.VOICE else self.place.name

    def time(self, at: datetime, clock: bool = False) -> str:
        form = "spoken_" if self.channel is Channel.VOICE else "clock_" if clock else ""
        return self.wording.until(at, self.over.now, self.over.manner.zone, form)

    def moment(self, at: datetime) -> str:
        form = "spoken_" if self.channel is Channel.VOICE else ""
        return self.wording.moment(at, self.over.now, self.over.manner.zone, form)

    def where(self, point: Point) -> str:
        city = point.city if point.city and point.city != self.place.name else ""
        return ", ".join(part for part in (point.name, point.address, city) if part)

    def point(self, offer: Offer) -> Part:
        point = offer.point
        if point.hidden:
            text = self.wording.say("point.hidden", self.channel, name=point.name, helpline=self.helpline)
        elif offer.metres is None:
            text = self.wording.say("point.plain", self.channel, where=self.where(point))
        else:
            text = self.wording.say(
                "point.near",
                self.channel,
                where=self.where(point),
                distance=self.wording.distance(offer.metres, offer.margin, self.channel),
                place=self.from_where,
            )
        if self.channel is Channel.VOICE:
            return Part("point", text if text.endswith(".") else f"{text}.", KEEP, True)
        if point.hidden:
            return Part("point", text, KEEP, True)
        bare = Part("point", ", ".join(part for part in (point.name, point.address) if part), KEEP, True)
        return Part("point", text, 2, True, bare)

    def lost(self, lost: Lost) -> Part:
        """What has become of a point that somebody counts on; its address goes before its name does."""
        point = lost.point
        address = "" if point.hidden else self.where(point)
        whole = f"{address}," if self.channel is Channel.TEXT and address not in ("", point.name) else address
        values = {
            "until": self.time(lost.until, clock=True) if lost.until else "",
            "phone": spoken_phone(point.phone) if self.channel is Channel.VOICE else point.phone,
            "moved_to": point.moved_to,
        }
        texts = (
            self.wording.say(f"news.{lost.how}", self.channel, where=where, **values)
            for where in (whole or point.name, point.name)
        )
        return Part("news", next(texts), 3, True, Part("news", next(texts), KEEP, True))

    def other(self, offer: Offer, drop: int) -> Part:
        """A further point, told whole or not at all."""
        pieces = [self.point(offer), self.state(offer, line=True), self.checked(offer)]
        return Part("other", _joined(pieces), drop, True)

    @property
    def helpline(self) -> str:
        return spoken_phone(self.over.manner.helpline) if self.channel is Channel.VOICE else self.over.manner.helpline

    def state(self, offer: Offer, drop: int = KEEP, line: bool = False) -> Part:
        standing, values = offer.standing, {}
        key = {Kind.FULL: "full", Kind.BY_PHONE: "by_phone", Kind.CLOSES_SOON: "closes_soon"}.get(standing.kind, "open")
        if standing.unconfirmed and key == "open":
            key = "unconfirmed"
        if standing.until and key != "closes_soon":
            key += "_until"
        if standing.until:
            values["until"] = self.time(standing.until, clock=key == "closes_soon")
        phone = offer.point.phone
        values["phone"] = spoken_phone(phone) if self.channel is Channel.VOICE else phone
        return self.part(f"state.{key}", drop, line, **values)

    def checked(self, offer: Offer, drop: int = KEEP, line: bool = False) -> Part:
        return self.checked_at(offer.point.confirmed_at, drop, line)

    def checked_at(self, at: datetime | None, drop: int = KEEP, line: bool = False) -> Part:
        if at is None:
            return self.part("checked.never", drop, line)
        key = "checked.stale" if at + self.over.manner.stale_after <= self.over.now else "checked"
        return self.part(key, drop, line, time=self.moment(at))

    def services(self, point: Point, wanted: str) -> Iterator[Part]:
        codes = [code for code in SERVICES if code in point.services]
        codes.sort(key=lambda code: code != wanted)
        labels = [self.wording.label(code, self.channel) for code in codes]
        if not labels:
            return
        if self.channel is Channel.VOICE:
            yield self.part("services", list=self.wording.listed(labels))
            return
        first, all_told = (self._service_part(labels[:count], drop) for count, drop in ((FIRST_SERVICES, 1), (7, 40)))
        yield all_told._replace(short=first)

    def _service_part(self, labels: list[str], drop: int) -> Part:
        text = self.wording.say("services", self.channel, list=", ".join(labels))
        return Part("services", text[:1].upper() + text[1:], drop)

    def extras(self, point: Point) -> Iterator[Part]:
        for key, value, drop in (("step_free", point.step_free, 45), ("pets", point.pets, 50)):
            if value is not YesNo.UNKNOWN:
                yield self.part(f"{key}.{value}", drop)
        if point.overnight is YesNo.YES:
            yield self.part("overnight.yes", 55)
        if point.note:
            yield self.part("note", 70, note=point.note)


def _head(answer: Answer, teller: _Teller) -> Part:
    first = answer.offers[0].standing
    if answer.skipped:
        return teller.part("open.head_more")
    if first.kind is Kind.FULL:
        return teller.part("open.head_full")
    if first.kind is Kind.BY_PHONE:
        return teller.part("open.head_by_phone")
    if teller.place.is_area:
        where = "area" if answer.in_area else "elsewhere"
        return teller.part(f"open.head_{where}{'_unconfirmed' * first.unconfirmed}", area=_area(teller.place))
    if first.unconfirmed:
        return teller.part("open.head_unconfirmed")
    if answer.both_near:
        return teller.part("open.head_both", place=teller.from_where)
    return teller.part("open.head")


def _area(place: Place) -> str:
    return place.district if place.kind is PlaceKind.AREA else place.name


def _open(answer: Answer, teller: _Teller) -> Iterator[Part]:
    wording = teller.wording
    if answer.service and not answer.service_found:
        yield teller.part("open.no_service", service=wording.label(answer.service, teller.channel))
    if answer.kind is AnswerKind.OPEN:
        yield _head(answer, teller)
    first, *others = answer.offers
    yield teller.point(first)
    yield teller.state(first, line=True)
    yield from teller.services(first.point, answer.service)
    yield from teller.extras(first.point)
    yield teller.checked(first, line=True)
    for number, offer in enumerate(others):
        yield teller.other(offer, drop=4 + number)
    if answer.full:
        yield teller.part("also.full", 25, True, name=answer.full.point.name)
    if answer.moved and answer.moved.metres is not None:
        yield teller.part("also.moved", 15, True, name=answer.moved.point.name, moved_to=answer.moved.point.moved_to)
    if answer.closer and answer.closer.metres is not None:
        yield teller.part(
            "also.closer", 12, True,
            service=wording.label(answer.service, teller.channel),
            where=teller.where(answer.closer.point),
            distance=wording.distance(answer.closer.metres, answer.closer.margin, teller.channel),
        )  # fmt: skip


def _later(answer: Answer, teller: _Teller) -> Iterator[Part]:
    offer = answer.offers[0]
    yield teller.part("later.head", place=teller.from_where, now=_now(teller))
    opens = teller.moment(offer.standing.opens or teller.over.now)
    point = teller.point(offer)
    key = "later.point_unconfirmed" if offer.standing.unconfirmed else "later.point"
    yield teller.part(key, KEEP, True, opens=opens, where=point.text.rstrip("."))
    if offer.standing.call_first:
        yield teller.state(offer)
    yield teller.part("later.wait", 10)
    yield teller.checked(offer, KEEP, True)
    yield teller.part("later.subscribe", 35)


def _none(answer: Answer, teller: _Teller) -> Iterator[Part]:
    yield teller.part("none.head", place=teller.from_where, now=_now(teller))
    yield teller.checked_at(answer.checked_at)
    if answer.moved and answer.moved.metres is not None:
        yield teller.part("also.moved", 10, True, name=answer.moved.point.name, moved_to=answer.moved.point.moved_to)
    yield teller.part("none.advice", KEEP, True)
    yield teller.part("none.last", 40)
    yield teller.part("none.subscribe", 35, True)


def _inactive(answer: Answer, teller: _Teller) -> Iterator[Part]:
    yield teller.part("inactive.head", municipality=answer.place.municipality, now=_now(teller))
    planned = answer.planned
    if planned and not planned.point.hidden:
        plain = answer.place.is_area
        key = "inactive.planned_plain" if plain else "inactive.planned"
        yield teller.part(key, 20, True, place=teller.from_where, where=teller.where(planned.point))
        yield teller.checked(planned, 21)
    yield teller.part("inactive.subscribe", 35, True)
    yield teller.part("inactive.advice", 50)


def _now(teller: _Teller) -> str:
    return teller.moment(teller.over.now)


def spoken_code(name: str) -> str:
    """A postcode digit by digit, a name as it is."""
    return " ".join(name) if name.isdecimal() else name


def spoken_phone(number: str) -> str:
    """A phone number digit by digit, with a comma where it is grouped: "0 8, 5 0 8"."""
    groups = number.replace("-", " ").replace("+", "+ ").split()
    return ", ".join(" ".join(group) for group in groups)
