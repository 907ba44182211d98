"""A conversation as data, and what must hold for it to be used at all."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from responder.core.points import SERVICES
from responder.core.segments import cost, gsm_twins
from responder.core.wording import Channel, Wording, placeholders

# What is asked for beside an answer; an @ and its name leads to it.
PURPOSES = frozenset({"subscribe", "start", "unsubscribe", "agree", "mine", "text_me", "exercise"})
ACTIONS = frozenset({"@repeat", "@more", "@pending", "@language", "@next_language", *(f"@{p}" for p in PURPOSES)})
TAKES = frozenset({"place", "subscription", "candidate", "nothing"})
EFFECTS = frozenset(
    ("forget", "welcome_back", "subscribe", "ask_first", "agree", "decline", "unsubscribe", "text_me", "exercise")
)
OUTCOMES = frozenset(
    ("answer", "no_more", "several", "unsure", "district", "unknown", "outside", "no_such_code", "ask_place",
     "subscribed", "subscribed_call", "asked_first", "asked_first_call", "agreed", "too_many", "said_stop", "not_you",
     "ask_subscribe", "unsubscribed", "not_subscribed", "mine", "mine_none", "texted", "no_texts", "too_often",
     "exercise", "stop_all")
)  # fmt: skip
COMMANDS = frozenset(
    ("stop", "start", "help", "menu", "more", "info", "test", "language", "helpline", "hello", "thanks", "subscribe",
     "mine", "yes", "no", "exercise")
)  # fmt: skip
FORMS = frozenset(
    ("decimal", "metres", "kilometres", "less_metres", "less_kilometres", "spoken_metres",
     "spoken_kilometres", "spoken_less_metres", "spoken_less_kilometres", "time", "hour",
     "spoken_time", "spoken_hour", "clock_time", "clock_hour", "tomorrow", "weekday", "date", "and")
)  # fmt: skip

# What a sentence may ask to be filled in, by the first part of its key; longest key wins.
PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "": frozenset(),
    "open.": frozenset({"area", "place", "service"}),
    "point.": frozenset({"where", "distance", "place", "name", "helpline"}),
    "state.": frozenset({"until", "phone"}),
    "services": frozenset({"list"}),
    "note": frozenset({"note"}),
    "checked": frozenset({"time"}),
    "checked.never": frozenset(),
    "snapshot": frozenset({"time"}),
    "also.": frozenset({"name", "moved_to", "service", "where", "distance"}),
    "coarse": frozenset({"near"}),
    "sign": frozenset({"sender"}),
    "later.": frozenset({"place", "now", "opens", "where"}),
    "none.": frozenset({"place", "now"}),
    "inactive.": frozenset({"place", "now", "where", "municipality"}),
    "no_points.": frozenset({"municipality"}),
    "say.": frozenset({"said", "place", "service", "sender", "helpline", "days", "list", "most"}),
    "news.": frozenset({"now", "place", "where", "name", "until", "phone", "moved_to", "sender"}),
    "push.": frozenset({"list", "sender", "point", "time"}),
    "waiting": frozenset({"place"}),
    "broadcast.": frozenset({"sender", "time", "said"}),
    "option": frozenset({"key", "label"}),
    "op.": frozenset(
        {"point", "state", "until", "time", "count", "text", "why", "id", "who", "code", "sender", "target"}
    ),
}

# Sentences that stand alone in a text, filled with the longest values they can meet.
_LONGEST = {
    "said": "W" * 30,
    "place": "Hässelby villastad",
    "service": "W" * 22,
    "sender": "W" * 30,
    "helpline": "08-123 45 67",
    "days": "365",
    "most": "5",
    "list": ", ".join(["Hässelby villastad (laddning)"] * 5),
}
_LONGEST_OF_AN_ORDER = {  # what is quoted (a text, a reason) is cut to the room there is, and must have some
    "point": f"1234 {'W' * 60}", "state": "öppnar i övermorgon 24.00 till i övermorgon 24.00",
    "until": "i morgon 24.00", "time": "i morgon 24.00", "count": "1 000 000", "id": "123456789",
    "who": "w" * 40, "code": "41", "target": "W" * 40, "sender": "W" * 30, "text": "W" * 80, "why": "W" * 80,
}  # fmt: skip


class FlowError(ValueError):
    """A flow or wording file that cannot be used: `problems` name file, node and reason, one a line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Choice:
    """Something a resident can pick: by `key`, or by the words that the wording files give `word` (its id, if left
    out). `on`: the channel that has it, "" for both.
    """

    id: str
    key: str
    next: str
    word: str = ""
    on: str = ""


@dataclass(frozen=True)
class Node:
    """A place in the conversation."""

    name: str
    say: str
    takes: str = "nothing"
    choices: tuple[Choice, ...] = ()
    listed_for: str = ""  # channel for which the options are read out; "" for none
    effects: tuple[str, ...] = ()
    ends: bool = False


@dataclass(frozen=True, repr=False)
class Flow:
    """Nodes and edges, with the languages it is spoken in (the first is the one we start in)."""

    start: str
    tries: int
    spent: str
    silence: str
    wrong_key: str
    unclear: str
    always: Mapping[str, str]
    with_place: Mapping[str, str]  # a command that may be followed by a place, and what it then asks for
    keys: Mapping[str, str]
    outcomes: Mapping[str, str]
    nodes: Mapping[str, Node]
    languages: Mapping[str, Wording] = field(repr=False)

    @cached_property
    def keys_only(self) -> "Flow":
        """The same flow for a provider that understands no speech."""
        return replace(self, languages={code: wording.keys_only for code, wording in self.languages.items()})

    @property
    def default_language(self) -> str:
        """Code of the language a conversation starts in."""
        return next(iter(self.languages))


def problems(flow: Flow) -> list[str]:
    """Everything that keeps `flow` from being used, each as "file: where: reason"."""
    return [*_structure(flow), *(p for w in flow.languages.values() for p in _language(flow, w))]


def _structure(flow: Flow) -> Iterator[str]:
    file = "resident.toml"
    targets = {"[flow] start": flow.start, "[flow] spent": flow.spent}
    targets |= {f"[always] {name}": to for name, to in flow.always.items()}
    targets |= {f"[keys] {key}": to for key, to in flow.keys.items()}
    targets |= {f"[place], [subscription] {outcome}": to for outcome, to in flow.outcomes.items()}
    targets |= {f"[node.{n.name}] choice {c.id}": c.next for n in flow.nodes.values() for c in n.choices}
    for where, to in targets.items():
        if to not in flow.nodes and to not in ACTIONS:
            yield f"{file}: {where}: leads to {to!r}, which is no node"
    for outcome in sorted(OUTCOMES - set(flow.outcomes)):
        yield f"{file}: [place], [subscription]: the outcome {outcome!r} leads nowhere"
    for outcome in sorted(set(flow.outcomes) - OUTCOMES):
        yield f"{file}: [place], [subscription] {outcome}: no such outcome"
    for command in sorted(set(flow.always) - COMMANDS):
        yield f"{file}: [always] {command}: no such command"
    for command, purpose in flow.with_place.items():
        if command not in COMMANDS or purpose not in PURPOSES:
            yield f"{file}: [with_place] {command}: no such command, or nothing that {purpose!r} could mean"
    for node in flow.nodes.values():
        where = f"{file}: [node.{node.name}]"
        if node.takes not in TAKES:
            yield f"{where}: takes {node.takes!r}, not one of {', '.join(sorted(TAKES))}"
        if node.takes == "nothing" and not node.choices and not node.ends:
            yield f"{where}: neither takes anything nor ends: the caller would wait for ever"
        if node.ends and (node.choices or node.takes != "nothing"):
            yield f"{where}: ends, so it can take nothing"
        for effect in node.effects:
            if effect not in EFFECTS:
                yield f"{where}: no such effect: {effect}"
        keys = Counter([choice.key for choice in node.choices] + [key for key in flow.keys if node.choices])
        for key, count in keys.items():
            if count > 1:
                yield f"{where}: the key {key} is used twice"
    if flow.spent in flow.nodes and not flow.nodes[flow.spent].ends:
        yield f"{file}: [flow] spent: {flow.spent!r} does not end: silence would go round for ever"
    reached = {to for to in targets.values() if to in flow.nodes} | {"language"}
    for name in sorted(set(flow.nodes) - reached):
        yield f"{file}: [node.{name}]: nothing leads here"


def _language(flow: Flow, wording: Wording) -> Iterator[str]:
    file = f"wording/{wording.code}.toml"
    every = {key for language in flow.languages.values() for key in language.text}
    used = {node.say for node in flow.nodes.values()} | {flow.silence, flow.wrong_key, flow.unclear}
    used |= {f"choice.{choice.id}" for node in flow.nodes.values() for choice in node.choices}
    used -= {"answer"}
    for key in sorted((every | used) - set(wording.text)):
        yield f"{file}: [text] {key}: missing"
    for key in sorted(set(wording.keys) - set(wording.text) - set(wording.voice)):
        yield f"{file}: [keys] {key}: no such sentence"
    for table, sentences in (("text", wording.text), ("voice", wording.voice), ("keys", wording.keys)):
        for key, sentence in sentences.items():
            for name in sorted(placeholders(sentence) - allowed(key)):
                yield f"{file}: [{table}] {key}: unknown placeholder {{{name}}}"
    for code in SERVICES:
        if code not in wording.service_labels:
            yield f"{file}: [services.labels] {code}: missing"
    for code in sorted({*wording.service_words, *wording.service_labels, *wording.spoken_labels} - set(SERVICES)):
        yield f"{file}: [services] {code}: no such service"
    for name in sorted(FORMS - set(wording.form)):
        yield f"{file}: [format] {name}: missing"
    if len(wording.weekdays) != 7:
        yield f"{file}: [format] weekdays: {len(wording.weekdays)} names, not 7"
    seen: dict[str, str] = {}
    for command, said_as in wording.commands.items():
        for word in sorted(said_as):
            if word in seen:
                yield f"{file}: [commands] {word!r}: means both {seen[word]} and {command}"
            seen[word] = command
    yield from _too_long(file, wording)


def allowed(key: str) -> frozenset[str]:
    """The placeholders that the sentence `key` may hold."""
    return PLACEHOLDERS[max((start for start in PLACEHOLDERS if key.startswith(start)), key=len)]


def _too_long(file: str, wording: Wording) -> Iterator[str]:
    for key in wording.text:
        longest = _LONGEST_OF_AN_ORDER if key.startswith("op.") else _LONGEST
        if not key.startswith(("say.", "op.")) or placeholders(wording.text[key]) - set(longest):
            continue
        worst = cost(gsm_twins(wording.say(key, Channel.TEXT, **longest)))
        if worst.segments > wording.budget_other:
            yield (
                f"{file}: [text] {key}: {worst.segments} segments at worst ({worst.encoding}), "
                f"the budget is {wording.budget_other}"
            )


def mermaid(flow: Flow) -> str:
    """The flow as a Mermaid flowchart: boxes are nodes, labels are what leads on."""
    lines = ["flowchart TD", "  place{{a place is taken}}"]
    for node in flow.nodes.values():
        shape = f'(["{node.name}"])' if node.ends else f'["{node.name}"]'
        lines.append(f"  n_{node.name}{shape}")
        lines += [f"  n_{node.name} -->|{choice.key} {choice.id}| {_box(flow, choice.next)}" for choice in node.choices]
        if node.takes != "nothing":
            lines.append(f"  n_{node.name} -.-> place")
    lines += [f"  place -->|{outcome}| n_{to}" for outcome, to in flow.outcomes.items()]
    lines += [f"  always{{{{always}}}} -->|{command}| {_box(flow, to)}" for command, to in flow.always.items()]
    lines += [f"  keys{{{{keys}}}} -->|{key}| {_box(flow, to)}" for key, to in flow.keys.items()]
    lines.append(f"  silence{{{{silence, {flow.tries} times}}}} --> n_{flow.spent}")
    return "\n".join(lines)


def _box(flow: Flow, to: str) -> str:
    return f"n_{to}" if to in flow.nodes else f'{to.removeprefix("@")}(("{to}"))'
