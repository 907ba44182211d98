"""What operators and hosts are told by phone: sentences of the wording files, within the segments of a text. Pure."""

from dataclasses import dataclass
from datetime import datetime

from responder.core.points import Point, Standing
from responder.core.segments import cost
from responder.core.wording import Channel, Wording

SEGMENTS = 3  # of a text at most
CUT = "..."


@dataclass(frozen=True, slots=True)
class Clerk:
    """Speaks one language, at `now` on the clock of `zone`, in a text or on the phone."""

    wording: Wording
    channel: Channel
    now: datetime
    zone: str

    def fits(self, key: str, /, **values: str) -> bool:
        """Whether a text says the whole sentence `op.KEY`, with nothing cut."""
        return cost(self._written(key, values)).segments <= SEGMENTS

    def say(self, key: str, /, **values: str) -> str:
        """The sentence `op.KEY`. A `text` or `why` in it is cut where it would need more than `SEGMENTS`."""
        if self.channel is Channel.VOICE:
            return self.wording.say(f"op.{key}", self.channel, **values)
        long = next((name for name in ("text", "why") if name in values), "")
        said = self._written(key, values)
        if not long or cost(said).segments <= SEGMENTS:
            return said
        whole = values[long]
        fits, too_long = 0, len(whole)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if cost(self._written(key, {**values, long: _cut(whole, middle)})).segments <= SEGMENTS:
                fits = middle
            else:
                too_long = middle
        return self._written(key, {**values, long: _cut(whole, fits)})

    def name(self, number: int | None, point: Point) -> str:
        """A point as an operator knows it: its number and its name."""
        return f"{number} {point.name}" if number and self.channel is Channel.TEXT else point.name

    def state(self, standing: Standing) -> str:
        """What a point is for residents: "ÖPPEN till 20"."""
        form = "spoken_" if self.channel is Channel.VOICE else ""
        opens = self.wording.moment(standing.opens, self.now, self.zone, form) if standing.opens else ""
        said = self.say(f"is.{standing.kind}", until=opens).strip()
        if not standing.until or standing.opens:
            return said
        return self.say("until", state=said, until=self.wording.until(standing.until, self.now, self.zone, form))

    def time(self, at: datetime | None) -> str:
        """A time, or that there is none."""
        form = "spoken_" if self.channel is Channel.VOICE else ""
        return self.wording.moment(at, self.now, self.zone, form) if at else self.say("never")

    def count(self, number: int) -> str:
        """A number in groups of three."""
        return f"{number:,}".replace(",", " ")

    def points(self, found: list[tuple[int | None, Point, Standing]]) -> str:
        """A line a point, the activated ones first, as many as there is room for."""
        if not found:
            return self.say("none")
        lines = [self.say("short", point=self.name(number, p), state=self.state(now)) for number, p, now in found]
        for shown in range(len(lines), 0, -1):
            rest = [self.say("left", count=str(len(lines) - shown))] if shown < len(lines) else []
            said = "\n".join([*lines[:shown], *rest])
            if cost(said).segments <= SEGMENTS:
                return said
        return self.say("left", count=str(len(lines)))

    def _written(self, key: str, values: dict[str, str]) -> str:
        return self.wording.alphabet(self.wording.say(f"op.{key}", Channel.TEXT, **values))


def _cut(text: str, most: int) -> str:
    """The beginning of `text`, at the end of a line or word if there is one near."""
    cut = text[:most]
    for end in ("\n", " "):
        if end in cut[most // 2 :]:
            cut = cut[: cut.rindex(end)]
            break
    return f"{cut.rstrip()} {CUT}"
