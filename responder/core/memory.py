"""What is kept of a conversation between two turns: where it stands, and what was answered lately."""

import hashlib
import json
from dataclasses import dataclass, replace

from responder.core.dialogue import Session
from responder.core.wording import Channel

SESSION_TTL = 30 * 60  # seconds after which a question is new; the chosen language stays
SAME_REPLIES = 3  # identical replies to a number ...
SAME_WITHIN = 10 * 60  # ... in so many seconds
_KEPT = 20  # replies

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Memory:
    """A session, and (mark, second) of the replies of the last minutes."""

    session: Session
    recent: tuple[tuple[str, int], ...] = ()

    def at(self, elapsed: float) -> "Memory":
        """What is left after `elapsed` seconds of silence."""
        if elapsed <= SESSION_TTL:
            return self
        old = self.session
        return replace(self, session=Session(old.channel, old.language, chosen=old.chosen))

    def is_one_too_many(self, text: str, now: float) -> bool:
        """Whether `text` was answered so often lately that somebody, or another machine, is going round in circles."""
        mark = _mark(text)
        return sum(seen == mark and now - at < SAME_WITHIN for seen, at in self.recent) >= SAME_REPLIES

    def after(self, session: Session, text: str, now: float) -> "Memory":
        """The memory once `text` ("" for silence) has been answered and the conversation stands at `session`."""
        lately = tuple(reply for reply in self.recent if now - reply[1] < SAME_WITHIN)[-_KEPT:]
        return Memory(session, (*lately, (_mark(text), int(now))) if text else lately)


def packed(memory: Memory) -> str:
    """`memory` as JSON."""
    session = memory.session
    return _to_json([[getattr(session, name) for name in Session.__dataclass_fields__], memory.recent])


def unpacked(state: str) -> Memory:
    """What `packed` wrote."""
    fields, recent = json.loads(state)
    data = dict(zip(Session.__dataclass_fields__, fields, strict=False))
    data["candidates"] = tuple((code, label) for code, label in data["candidates"])
    data["channel"] = Channel(data["channel"])
    return Memory(Session(**data), tuple((mark, at) for mark, at in recent))


def _mark(text: str) -> str:
    return hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
