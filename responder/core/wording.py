"""One language as data: its sentences, its words for commands and services, how it tells times and distances."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from responder.core.segments import gsm_twins, is_gsm, to_gsm
from responder.core.words import swedish, words


class Channel(StrEnum):
    """How we are being talked to."""

    TEXT = "text"
    VOICE = "voice"


_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LONGEST_SPOKEN = 80  # letters of a word that is looked at for number words; five of them have half as many
_GRAINS = ((150, 100), (700, 500), (1500, 1000), (3000, 2000))  # margin at most -> rounded to, metres


@dataclass(frozen=True, repr=False)
class Wording:
    """A wording file, checked. `text` has every sentence; `voice` those that are said otherwise on the phone; `keys`
    those that are said otherwise again where a caller can only press keys.
    """

    code: str
    name: str
    locale: str
    voice_name: str  # "" where the provider has no voice: then `clips` must speak
    speech: bool  # whether the provider understands speech in this language
    reviewer: str
    reviewed: date
    budget_open: int
    budget_other: int
    text: Mapping[str, str]
    voice: Mapping[str, str]
    commands: Mapping[str, frozenset[str]]
    hints: frozenset[str]
    service_words: Mapping[str, tuple[str, ...]]
    service_labels: Mapping[str, str]
    spoken_labels: Mapping[str, str]  # those that are said otherwise on the phone
    numbers: Mapping[str, int]
    form: Mapping[str, str]
    weekdays: tuple[str, ...]
    senders: Mapping[str, str] = field(default_factory=dict)
    clips: Mapping[str, str] = field(default_factory=dict)  # sentence key -> address of a recording
    keys: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def keys_only(self) -> "Wording":
        """The same language for a provider that understands no speech."""
        clips = {key: clip for key, clip in self.clips.items() if key not in self.keys}
        return replace(self, speech=False, voice={**self.voice, **self.keys}, clips=clips)

    def template(self, key: str, channel: Channel) -> str:
        """The sentence of `key` with its placeholders still in it; "" if there is none. KeyError: unknown key."""
        if channel is Channel.VOICE and key in self.voice:
            return self.voice[key]
        return self.text[key]

    def say(self, key: str, channel: Channel = Channel.TEXT, /, **values: str) -> str:
        """The sentence of `key`, filled in once: a brace in a value stays a brace."""
        return fill(self.template(key, channel), values)

    @cached_property
    def alphabet(self) -> Callable[[str], str]:
        """Brings a text to what this language is sent in: GSM-7 if all its sentences are, so that no name from a
        points file makes a text three times as dear; else UCS-2 with cheap twins where there are any.
        """
        return to_gsm if all(is_gsm(gsm_twins(sentence)) for sentence in self.text.values()) else gsm_twins

    def command(self, said: str) -> str:
        """The command that the message `said` (see `plainly`) means in this language as a whole, or ""."""
        return self._commands.get(said, "")

    def likeness(self, said: str) -> int:
        """How many words of `said` are words of this language."""
        return sum(token in self.hints for token in said.split())

    def service(self, said: str) -> str:
        """The code of the first service that `said` asks for, or ""."""
        found = self._services.search(said)
        return str(found.lastgroup) if found else ""

    @cached_property
    def _commands(self) -> dict[str, str]:
        return {word: name for name, said_as in self.commands.items() for word in said_as}

    @cached_property
    def _services(self) -> re.Pattern[str]:
        """All words for services as one pattern, a named group a service; * lets a word go on."""
        groups = []
        for code, patterns in self.service_words.items():
            ways = (re.escape(p.removesuffix("*")) + ("" if p.endswith("*") else r"(?!\w)") for p in patterns)
            groups.append(f"(?P<{code}>{'|'.join(ways)})")
        return re.compile(rf"(?<!\w)(?:{'|'.join(groups)})" if groups else r"(?!)")

    def label(self, service: str, channel: Channel = Channel.TEXT) -> str:
        """What a service is called, by its code."""
        label = self.service_labels[service]
        return self.spoken_labels.get(service, label) if channel is Channel.VOICE else label

    def distance(self, metres: float, margin: float, channel: Channel = Channel.TEXT) -> str:
        """How people say a distance, rounded to what its `margin` (metres) deserves: "ca 400 m", "ca 1,2 km"."""
        grain = next((grain for limit, grain in _GRAINS if margin <= limit), 5000)
        if metres >= 10_000:
            grain = max(grain, 1000)
        rounded = round(metres / grain) * grain
        form = ("spoken_" if channel is Channel.VOICE else "") + ("less_" if rounded == 0 else "")
        rounded = rounded or grain
        if rounded < 1000:
            return fill(self.form[f"{form}metres"], {"n": str(rounded)})
        kilometres = f"{rounded / 1000:.1f}".removesuffix(".0").replace(".", self.form["decimal"])
        return fill(self.form[f"{form}kilometres"], {"n": kilometres})

    def moment(self, at: datetime, now: datetime, zone: str, form: str = "") -> str:
        """How people say a time: "22", "14.20", "i morgon 8", "lördag 8", "24/12 8", on the clock of `zone`.

        `form`: "spoken_" for the phone ("klockan 22", "i morgon klockan 8"), "clock_" for a text that needs the word.
        """
        local, today = at.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
        time = fill(
            self.form[f"{form}{'time' if local.minute else 'hour'}"], {"h": str(local.hour), "m": f"{local.minute:02d}"}
        )
        days = (local.date() - today).days
        if days == 0:
            return time
        if days == 1:
            return fill(self.form["tomorrow"], {"time": time})
        if 1 < days < 7:
            return fill(self.form["weekday"], {"day": self.weekdays[local.weekday()], "time": time})
        return fill(self.form["date"], {"d": str(local.day), "mo": str(local.month), "time": time})

    def until(self, at: datetime, now: datetime, zone: str, form: str = "") -> str:
        """Like `moment`, but midnight at the end of a day is 24 of that day."""
        local = at.astimezone(ZoneInfo(zone))
        if local.hour == local.minute == 0:
            before = self.moment(at - timedelta(hours=1), now, zone, form)
            return re.sub(r"23$", "24", before)
        return self.moment(at, now, zone, form)

    def listed(self, items: list[str]) -> str:
        """ "el, mat och vatten"."""
        if len(items) < 2:
            return "".join(items)
        return f"{', '.join(items[:-1])} {self.form['and']} {items[-1]}"

    def sender(self, name: str) -> str:
        """The sender's name in this language."""
        return self.senders.get(name, name)


def plainly(text: str) -> str:
    """`text` as commands, hints and services are looked for in it: lower case, its words with single spaces.

    A text without any word ("?") stays what it is.
    """
    return " ".join(words(swedish(text))) or text.strip()


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with each {name} replaced, in one pass: a value is never read as a template. KeyError: no value."""
    if "{" not in template:
        return template
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def placeholders(template: str) -> frozenset[str]:
    """The names in braces in `template`."""
    return frozenset(_PLACEHOLDER.findall(template))


def spoken_digits(text: str, numbers: Mapping[str, int]) -> str:
    """`text` with number words as digits: "ett två tre fyrtiosju" is "12347", "hundratjugotre" is "123"."""
    if text.isdecimal() or not _number_word(frozenset(numbers)).search(swedish(text)):
        return text
    out: list[str] = []
    run = _Run()
    for token in text.replace("-", " ").split():
        bare = swedish("".join(words(token)))
        values = [numbers[part] for part in _number_parts(bare, numbers)]
        if bare.isdecimal() and run.groups:
            run.groups, run.room = [*run.groups, bare], 1
        elif values:
            for value in values:
                run.add(value)
        else:
            out += ["".join(run.groups), token]
            run = _Run()
    return " ".join(part for part in [*out, "".join(run.groups)] if part)


@lru_cache
def _number_word(numbers: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(numbers))) or '(?!)'})")


@dataclass
class _Run:
    """Numbers said one after the other; `room`: the last one still takes in what is below 100, 10 or nothing (1)."""

    groups: list[str] = field(default_factory=list)
    room: int = 1

    def add(self, value: int) -> None:
        if value == 100 and self.room == 1 and self.groups and len(self.groups[-1]) == 1 and self.groups[-1] != "0":
            self.groups[-1] += "00"
        elif 0 < value < self.room:
            self.groups[-1] = str(int(self.groups[-1]) + value)
        else:
            self.groups.append(str(value))
        self.room = 100 if value == 100 else 10 if value >= 20 else 1


def _number_parts(word: str, numbers: Mapping[str, int]) -> list[str]:
    """`word` cut into number words, the longest first; nothing if it is not made of them alone.

    From the end, each position once: `sextio` is also `sex` `tio`, so that trying them all doubles with each repeat.
    """
    if word in numbers or len(word) > _LONGEST_SPOKEN:
        return [word] if word in numbers else []
    longest, end = max(map(len, numbers), default=0), len(word)
    cut = {end: 0}  # position -> how long the first word is there, where the rest can be cut
    for start in reversed(range(end)):
        for size in range(min(longest, end - start), 1, -1):
            if start + size in cut and word[start : start + size] in numbers:
                cut[start] = size
                break
    parts, start = [], 0
    while cut.get(start):
        parts.append(word[start : start + cut[start]])
        start += cut[start]
    return parts
