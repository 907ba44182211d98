"""TOML files -> a checked flow with its languages, at start. Nobody edits Python to change a menu or a sentence."""

import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.pofile import read_po

from responder.core.flow import Choice, Flow, FlowError, Node, problems
from responder.core.problem import Translate
from responder.core.wording import Wording
from responder.core.words import swedish, words

CATALOGUES = Path(__file__).parent / "web" / "console" / "translations"


def load(folder: Path) -> Flow:
    """The flow of `folder`: resident.toml, wording/ (sv first) and audio/. Raises FlowError with every fault."""
    languages = {}
    faults: list[str] = []
    for path in sorted((folder / "wording").glob("*.toml"), key=lambda path: (path.stem != "sv", path.stem)):
        try:
            languages[path.stem] = _wording(path, folder / "audio" / path.name)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            faults.append(f"wording/{path.name}: {_reason(error)}")
    if not languages and not faults:
        faults.append(f"{folder / 'wording'}: no wording file")
    try:
        data = _read(folder / "resident.toml")
        if not faults:
            flow = _flow(data, languages)
            faults = problems(flow)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        faults.append(f"resident.toml: {_reason(error)}")
    if faults:
        raise FlowError(faults)
    return flow


@cache
def phrases(language: str) -> Translate:
    """Tells errors of operators in `language`, from the catalogues of their pages; in English where there are none."""
    found: dict[str, str] = {}
    for path in sorted((CATALOGUES / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                if message.id and isinstance(message.id, str) and isinstance(message.string, str) and message.string:
                    found[message.id] = message.string
    return lambda text: found.get(text, text)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def _flow(data: dict[str, Any], languages: dict[str, Wording]) -> Flow:
    head = data["flow"]
    nodes = {}
    for name, node in data["node"].items():
        unknown = set(node) - {"say", "takes", "choices", "list", "effects", "ends"}
        if unknown:
            raise ValueError(f"[node.{name}]: unknown setting {', '.join(sorted(unknown))}")
        nodes[name] = Node(
            name=name,
            say=node["say"],
            takes=node.get("takes", "nothing"),
            choices=tuple(_choice(choice) for choice in node.get("choices", ())),
            listed_for=node.get("list", ""),
            effects=tuple(node.get("effects", ())),
            ends=node.get("ends", False),
        )
    return Flow(
        start=head["start"],
        tries=head["tries"],
        spent=head["spent"],
        silence=head["silence"],
        wrong_key=head["wrong_key"],
        unclear=head["unclear"],
        always=data["always"],
        with_place=data["with_place"],
        keys=data["keys"],
        outcomes={**data["place"], **data["subscription"]},
        nodes=nodes,
        languages=languages,
    )


def _choice(row: dict[str, str]) -> Choice:
    return Choice(row["id"], row["key"], row["next"], row.get("word", row["id"]), row.get("on", ""))


def _wording(path: Path, audio: Path) -> Wording:
    data = _read(path)
    about, form = data["language"], data["format"]
    if about["code"] != path.stem:
        raise ValueError(f"[language] code is {about['code']!r}, the file is {path.name}")
    if not isinstance(about["reviewed"], date) or not about["reviewer"]:
        raise ValueError("[language] reviewer and reviewed (a date) must say who read it through, and when")
    clips = {}
    if audio.exists():
        clips = {key: str(name) for key, name in _read(audio)["clips"].items()}
    return Wording(
        code=about["code"],
        name=about["name"],
        locale=about["locale"],
        voice_name=about["voice"],
        speech=about["speech"],
        reviewer=about["reviewer"],
        reviewed=about["reviewed"],
        budget_open=data["budget"]["open"],
        budget_other=data["budget"]["other"],
        text=data["text"],
        voice=data.get("voice", {}),
        keys=data.get("keys", {}),
        commands={name: frozenset(_key(word) for word in said) for name, said in data["commands"].items()},
        hints=frozenset(swedish(word) for word in data["hints"]["words"]),
        service_words={code: tuple(_pattern(w) for w in said) for code, said in data["services"]["words"].items()},
        service_labels=data["services"]["labels"],
        spoken_labels=data["services"].get("spoken", {}),
        numbers={swedish(word): value for word, value in data["numbers"].items()},
        form={key: value for key, value in form.items() if isinstance(value, str)},
        weekdays=tuple(form["weekdays"]),
        senders=about.get("senders", {}),
        clips=clips,
    )


def _key(word: str) -> str:
    return " ".join(words(swedish(word))) or word


def _pattern(word: str) -> str:
    return swedish(word)
