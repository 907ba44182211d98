"""What must hold of every reply, whatever came in."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree import ElementTree

from responder.core.flow import Flow
from responder.core.points import USABLE, Kind, Point, standing
from responder.core.segments import cost
from responder.core.wording import Channel
from responder.core.words import clean
from responder.web.signed import MAX_BODY
from tests.conftest import STALE, ZONE
from tests.fuzz.cases import Case
from tests.fuzz.world import Reply, World

SIZE = 64_000  # bytes of a document
SAY = 4096  # characters of one Say
SECONDS = 0.1  # CPU for one case
SAID = 30  # characters of somebody's own words
VERBS = {
    "Response": {"Message", "Gather", "Say", "Play", "Pause", "Hangup"},
    "Gather": {"Say", "Play", "Pause"},
    "Say": {"prosody"},
    "prosody": {"break"},
}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ADDRESS = re.compile(r"Provstigen (\d{3})")
_NAME = re.compile(r"Provhus (\d{3})")
_BLANK = re.compile(r"\{\w+\}")
_ID = re.compile(r"[\x21-\x7e]{1,64}")
EXPECTED = ("is reached", "database away", "counts are kept in memory")  # errors in a log that are none of ours


@dataclass(frozen=True)
class Finding:
    """A rule that a case broke."""

    rule: str
    detail: str


@dataclass
class Judge:
    """Judges the replies of one episode, in order."""

    flow: Flow
    _told: dict[str, list[tuple[datetime, str]]] = field(default_factory=lambda: defaultdict(list))
    _answered: dict[str, str] = field(default_factory=dict)

    def id(self, case: Case) -> str:
        """The id of the turn that the case is, "" if it has none that can be."""
        form = case.form
        if case.path.startswith("/twilio/sms"):
            found = form.get("MessageSid", [""])[0]
            return found if _ID.fullmatch(found) else ""
        if case.path.endswith("/status"):
            return ""
        found = form.get("CallSid", [""])[0]
        turn = int(case.path.rpartition("/")[2]) if case.path[-1].isdecimal() else 0
        return f"{found}/{turn}" if _ID.fullmatch(found) else ""

    def answered(self, case: Case) -> bool:
        """Whether the turn that the case is was answered before, so that the same may be due."""
        return self.id(case) in self._answered

    def judge(self, case: Case, reply: Reply, world: World, came_before: bool) -> Iterator[Finding]:
        """All that is wrong with `reply`. `came_before`: its turn stood in the database."""
        yield from self._errors(case, reply)
        if reply.status != 200:
            return
        if reply.seconds > SECONDS:
            yield Finding("time", f"{reply.seconds * 1000:.0f} ms of CPU")
        root = None
        try:
            data = reply.document.encode()
            root = ElementTree.fromstring(data)
        except (ElementTree.ParseError, UnicodeEncodeError) as error:
            yield Finding("xml", f"{error}: {reply.document[:300]!r}")
        if root is None:
            return
        if found := _FORBIDDEN.search(reply.document):
            yield Finding("xml", f"the character {found[0]!r}")
        if len(data) >= SIZE:
            yield Finding("size", f"{len(data)} bytes")
        yield from _verbs(root, case)
        said = _spoken(root)
        id = self.id(case)
        if came_before:
            if self._answered.get(id, reply.document) != reply.document:
                yield Finding("redelivery", f"{id}: {reply.document!r} after {self._answered[id]!r}")
            return
        if not world.away:
            self._answered[id] = reply.document
        yield from self._texts(root, case, world)
        yield from self._doors(said, case, world)
        yield from _blanks(said, case)
        yield from _echo(said, case)

    def _errors(self, case: Case, reply: Reply) -> Iterator[Finding]:
        allowed = {200} if self.id(case) or case.path.endswith("/status") else {400}
        if case.web and len(case.body) > MAX_BODY:
            allowed = {413}
        if any(len(found) > 1 for found in case.form.values()):
            allowed.add(403)  # the library, which judges these, signs nothing that is no UTF-8
        if reply.status not in allowed:
            yield Finding("status", f"HTTP {reply.status}, not {allowed}")
        for line in reply.errors:
            if not any(known in line for known in EXPECTED):
                yield Finding("exception", line)

    def _texts(self, root: ElementTree.Element, case: Case, world: World) -> Iterator[Finding]:
        """The segment budget, and not the same too often."""
        for message in root.iter("Message"):
            text = message.text or ""
            most = max(wording.budget_other for wording in self.flow.languages.values())
            if self._begins(text, "open.head"):
                most = max(wording.budget_open for wording in self.flow.languages.values())
            if cost(text).segments > most:
                yield Finding("budget", f"{cost(text)} of {most}: {text!r}")
            if world.away or world.went_back:
                continue
            sender, now = case.form.get("From", [""])[0], world.clock.now
            same = [at for at, told in self._told[sender] if told == text and (now - at).total_seconds() < 599]
            if len(same) >= 3:
                yield Finding("loop", f"{len(same) + 1} times the same to {sender!r}: {text!r}")
            self._told[sender].append((now, text))
        if any(said in _spoken(root) for said in self._literals("say.stopped", Channel.VOICE)):
            self._told.pop(case.form.get("From", [""])[0], None)

    def _doors(self, said: str, case: Case, world: World) -> Iterator[Finding]:
        """Nobody is sent to a closed door."""
        truth, now = world.truth, world.clock.now
        lines = said.split("\n")
        for number, line in enumerate(lines):
            for serial in dict.fromkeys([*_NAME.findall(line), *_ADDRESS.findall(line)]):
                point = truth.get(serial)
                if point is None:
                    yield Finding("door", f"a point that there is not: {line!r}")
                    continue
                rest = "\n".join(lines[number : number + 4])
                yield from self._door(point, line, rest, serial in _ADDRESS.findall(line), now, case)

    def _door(self, point: Point, line: str, rest: str, address: bool, now: datetime, case: Case) -> Iterator[Finding]:
        kind = standing(point, now, ZONE, STALE).kind
        where = f"{point.id} ({point.status}, {kind}) in {rest!r}"
        if address and point.hidden:
            yield Finding("hidden", where)
        if kind in (Kind.CLOSED, Kind.UNTOLD):
            yield Finding("door", where)
        if kind is Kind.MOVED and (address or not self._has(line, "also.moved", case)):
            yield Finding("door", where)
        if kind is Kind.OPENS_AT and not self._begins(line, "later.point"):
            yield Finding("door", where)
        if kind is Kind.PLANNED and not self._begins(line, "inactive.planned"):
            yield Finding("door", where)
        if kind not in USABLE or not (address or point.hidden):
            return
        if self._begins(line, "also.closer") or self._has(line, "also.full", case):
            return
        key = {Kind.FULL: ("state.full",), Kind.BY_PHONE: ("state.by_phone",)}.get(
            kind, ("state.open", "state.un", "state.closes")
        )
        if not any(self._has(rest, one, case) for one in key):
            yield Finding("state", where)
        wrong = ("state.open",) if kind in (Kind.FULL, Kind.BY_PHONE) else ("state.full", "state.by_phone")
        after = rest.split("\n")[1:2]
        if after and any(self._begins(after[0], one) for one in wrong):
            yield Finding("state", where)

    def _begins(self, text: str, prefix: str) -> bool:
        """Whether `text` begins as a sentence does whose key begins with `prefix`."""
        starts = (fixed for channel in Channel for fixed in self._literals(prefix, channel, first=True))
        return any(text.startswith(start) for start in starts)

    def _has(self, text: str, prefix: str, case: Case) -> bool:
        channel = Channel.TEXT if case.path.startswith("/twilio/sms") else Channel.VOICE
        return any(fixed in text for fixed in self._literals(prefix, channel))

    def _literals(self, prefix: str, channel: Channel, first: bool = False) -> list[str]:
        """The longest fixed parts of all sentences whose key begins with `prefix`, in every language; `first`: those
        that they begin with.
        """
        key = (prefix, channel, first)
        if key not in _KNOWN:
            templates = [
                wording.template(name, channel)
                for wording in self.flow.languages.values()
                for name in wording.text
                if name.startswith(prefix)
            ]
            parts = [_BLANK.split(template) for template in templates]
            fixed = [part[0] if first else max(part, key=len) for part in parts]
            _KNOWN[key] = [one.strip() for one in fixed if len(one.strip()) > 2]
        return _KNOWN[key]


_KNOWN: dict[tuple[str, Channel, bool], list[str]] = {}


def _verbs(root: ElementTree.Element, case: Case) -> Iterator[Finding]:
    if root.tag != "Response":
        yield Finding("verbs", f"the root {root.tag}")
    for element in root.iter():
        for child in element:
            if child.tag not in VERBS.get(element.tag, set()):
                yield Finding("verbs", f"{child.tag} in {element.tag}")
    text = case.path.startswith("/twilio/sms")
    tags = [child.tag for child in root]
    if text and tags not in ([], ["Message"]):
        yield Finding("verbs", f"a text is answered by {tags}")
    if not text and "/status" not in case.path and tags.count("Gather") + tags.count("Hangup") != 1:
        yield Finding("verbs", f"a call is answered by {tags}")
    for gather in root.iter("Gather"):
        turn = int(case.path.rpartition("/")[2]) if case.path[-1].isdecimal() else 0
        if gather.get("action") != f"/twilio/voice/{turn + 1}":
            yield Finding("verbs", f"the turn {turn} goes on at {gather.get('action')}")
    for say in root.iter("Say"):
        if len("".join(say.itertext())) > SAY:
            yield Finding("size", f"a Say of {len(''.join(say.itertext()))} characters")


def _spoken(root: ElementTree.Element) -> str:
    """All that is told, a Say a line."""
    return "\n".join("".join(one.itertext()) for one in root.iter() if one.tag in ("Message", "Say"))


def _blanks(said: str, case: Case) -> Iterator[Finding]:
    ours = [blank for blank in _BLANK.findall(said) if blank not in ("{x}", "{name}")]  # of our points: values
    theirs = re.sub(r"[^{}\w]", "", _heard(case))  # what no text may hold is left out of what is said back
    if blanks := [blank for blank in ours if blank not in theirs]:
        yield Finding("blank", f"{blanks} in {said!r}")


def _heard(case: Case) -> str:
    form = case.form
    return " ".join(value for name in ("Body", "SpeechResult", "Digits") for value in form.get(name, ())[:1])


def _echo(said: str, case: Case) -> Iterator[Finding]:
    """No more of somebody's own words comes back than SAID characters in a row; our own next word may begin as theirs
    goes on.
    """
    heard, long = clean(_heard(case)), SAID + 4
    if len(heard) < long:
        return
    for start in range(len(said) - long + 1):
        if said[start : start + long] in heard:
            yield Finding("echo", repr(said[start : start + long]))
            return


def values(case: Case) -> Mapping[str, list[str]]:
    """The fields of a case, for a report."""
    return {name: [value[:200] for value in found] for name, found in case.form.items()}
