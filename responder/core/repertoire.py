"""What is said again and again, so that it can be spoken and kept before anybody calls."""

from collections.abc import Iterator
from dataclasses import replace

from responder.core.answer import Answer, Board
from responder.core.flow import Flow
from responder.core.places import Gazetteer, Place
from responder.core.points import USABLE, Kind, Point
from responder.core.reply import Manner, Part, Voiceover, answer_speech, news_speech, spoken_phone
from responder.core.telling import Spoken
from responder.core.told import Lost
from responder.core.wording import Channel, Wording, placeholders

_KNOWN = frozenset({"sender", "helpline", "days"})  # placeholders that the settings fill
_UNSAID = ("broadcast.", "choice.", "why.", "waiting", "sign", "more", "note", "push.stale", "say.test", "op.")


def spoken_keys(wording: Wording) -> tuple[str, ...]:
    """The keys of the sentences of `wording` that can be heard on the phone."""
    keys = dict.fromkeys([*wording.text, *wording.voice])
    return tuple(key for key in keys if key.startswith("op.key.") or not (key.startswith(_UNSAID) or _wish(key)))


def _wish(key: str) -> bool:
    """Whether it says what else one may have by text."""
    return key.endswith(".subscribe") and not key.startswith("say.")


def fixed(flow: Flow, manner: Manner) -> list[Spoken]:
    """Every sentence that is the same in each call, in every language, the options of the menus among them."""
    return list(dict.fromkeys(said for wording in flow.languages.values() for said in _fixed(flow, wording, manner)))


def _fixed(flow: Flow, wording: Wording, manner: Manner) -> Iterator[Spoken]:
    values = {
        "sender": wording.sender(manner.sender),
        "helpline": spoken_phone(manner.helpline),
        "days": str(manner.retain_days),
    }
    for key in spoken_keys(wording):
        if placeholders(wording.template(key, Channel.VOICE)) <= _KNOWN:
            yield Spoken(wording.say(key, Channel.VOICE, **values), wording.code, wording.clips.get(key, ""))
    for node in flow.nodes.values():
        for choice in node.choices if node.listed_for == Channel.VOICE else ():
            if choice.on in ("", Channel.VOICE):
                label = wording.say(f"choice.{choice.id}", Channel.VOICE)
                yield Spoken(wording.say("option", Channel.VOICE, key=choice.key, label=label), wording.code)


def of_points(flow: Flow, board: Board, gazetteer: Gazetteer, over: Voiceover) -> list[Spoken]:
    """What callers from beside each activated point would be answered, and what is said when its door closes."""
    out: dict[Spoken, None] = {}
    for point, standing in zip(board.points, board.standings, strict=True):
        if standing.kind not in USABLE and standing.kind is not Kind.OPENS_AT:
            continue
        for place in _beside(point, gazetteer):
            answer = board.answer(place)
            for wording in flow.languages.values():
                out |= dict.fromkeys(_told(answer, point, wording, over))
    return list(out)


def _beside(point: Point, gazetteer: Gazetteer) -> list[Place]:
    """Where those who ask for `point` most likely are: its postcode, its area."""
    home = gazetteer.home(point.lat, point.lon, point.postcode)
    area = next((p for p in gazetteer.places if p.is_area and p.district and p.district == point.district), None)
    return [place for place in (home, area) if place]


def _told(answer: Answer, point: Point, wording: Wording, over: Voiceover) -> Iterator[Spoken]:
    closed, nothing = [Lost(point, "closed", None)], replace(answer, offers=())
    parts: list[Part] = [*answer_speech(answer, wording, over), *news_speech(closed, nothing, wording, over)]
    for part in parts:
        yield Spoken(part.text, wording.code, wording.clips.get(part.key, ""))
