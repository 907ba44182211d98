"""46elks' REST API: one text or call at a time.

Sources: 46elks' documentation of sending texts, making calls and their histories. Nothing there is idempotent. Times
are UTC without saying so. Errors are a status and a line of text without a code; what a line means for us is told by
codes of our own. Lists are newest first, at most 100 a page; `next` is the `start` of the next page, which shows what
is older than it. A list holds what came in and what we replied to it as well. No text can be given a time after which
it is worthless.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession, encode_basic_auth

from responder.core.delivery import NO_MONEY, NO_SUCH_NUMBER
from responder.gateways import in_time
from responder.gateways.elks_paths import Paths
from responder.gateways.forms import answered_id
from responder.ports import NotSent, Sent, Unclear

API = "https://api.46elks.com"
RING_SECONDS = 30
PAGE = 100
TEXT_PAGES = 10  # of one number's texts
CALL_PAGES = 150  # of everybody's calls: these lists have no filter
_MONEY = re.compile(r"\b(credits?|balance|funds)\b", re.IGNORECASE)
_RECIPIENT = re.compile(  # "not allowed to send" is no recipient
    r"\b(invalid|missing|wrong|unknown|bad)( \w+){0,2} ['\"]?(to|recipient)\b(?! (?!number|address|parameter))"
    r"|\b(to|recipient)['\"]?( number| address| parameter)? (is|was) (not valid|invalid|missing|wrong|unknown)",
    re.IGNORECASE,
)
_SENDER = re.compile(r"\b(from|sender)\b", re.IGNORECASE)
_SAID = 200  # characters of an error that are told on


class ElksSender:
    """One account: texts come from `number`, calls from `caller`. Lives in one event loop."""

    calls = True

    def __init__(
        self,
        username: str,
        password: str,
        api_url: str,
        paths: Paths,
        number: str,
        caller: str,
        pool: int,
        timeout: float,
    ) -> None:
        self._headers = {"Authorization": encode_basic_auth(username, password)}
        self._api, self._paths = f"{api_url or API}/a1", paths
        self._number, self._caller = number, caller
        self._pool, self._timeout = pool, timeout
        self._opened: ClientSession | None = None

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """See ports.Sender. `valid` has no counterpart: an old text may arrive late."""
        told = {"from": self._number, "to": number, "message": body, "whendelivered": self._paths.address(receipts)}
        return await self._created("sms", told)

    async def call(self, number: str, document: str, receipts: str) -> str:
        """See ports.Sender."""
        told = {
            "from": self._caller,
            "to": number,
            "voice_start": document,
            "whenhangup": self._paths.address(receipts),
            "timeout": str(RING_SECONDS),
        }
        return await self._created("calls", told)

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """See ports.Sender. A reply to a text that came in is none of what was sent so, though it reads alike."""
        rows = await (
            self._listed("calls", {}, CALL_PAGES, since)
            if call
            else self._listed("sms", {"to": number}, TEXT_PAGES, since)
        )
        return [
            Sent(str(row.get("id", "")), "" if call else _body(row), _moment(row))
            for row in rows
            if row.get("to") == number and row.get("direction") == "outgoing"
        ]

    async def close(self) -> None:
        """See ports.Sender."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    @property
    def _session(self) -> ClientSession:
        if self._opened is None:  # inside the running loop: the library needs one
            self._opened = in_time.session(self._pool, self._timeout)
        return self._opened

    async def _listed(self, kind: str, asked: Mapping[str, str], most: int, since: datetime) -> list[dict[str, Any]]:
        """What is listed from `since` on. Raises Unclear where that is more than `most` pages."""
        query, found = {**asked, "limit": str(PAGE)}, []
        for _ in range(most):
            answer = await self._asked("GET", kind, params=query)
            rows = answer.get("data")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise Unclear(f"the list of {kind} is none")
            newer = [row for row in rows if _moment(row) >= since]
            found += newer
            if len(newer) < len(rows) or not answer.get("next"):
                return found
            query["start"] = str(answer["next"])
        raise Unclear(f"the list of {kind} is longer than {most} pages")

    async def _created(self, kind: str, told: Mapping[str, str]) -> str:
        answer = await self._asked("POST", kind, data=dict(told))
        named = answered_id(answer.get("id"))
        if "failed" in (answer.get("state"), answer.get("status")):  # taken, tried and given up in one
            raise NotSent("it failed at once", 400)
        return named

    async def _asked(self, method: str, kind: str, **told: Any) -> dict[str, Any]:
        """The answer; NotSent where nothing was taken, Unclear where something may have been."""
        in_time.begin(self._timeout)
        try:
            async with self._session.request(
                method, f"{self._api}/{kind}", headers=self._headers, allow_redirects=False, **told
            ) as response:
                if not 200 <= response.status < 300:
                    raise await _refused(response)
                answer = await response.json(content_type=None)
        except ClientConnectorError as error:
            raise NotSent(f"cannot connect: {error}") from error
        except (ClientError, OSError, ValueError) as error:
            raise Unclear(f"{type(error).__name__}: {error}") from error
        if not isinstance(answer, dict):
            raise Unclear("an answer that is no object")
        return answer


async def _refused(response: ClientResponse) -> Exception:
    status, said = response.status, (await response.text(errors="replace"))[:_SAID].strip()
    if not 400 <= status < 500 or status == 408:
        return Unclear(f"HTTP {status}")
    wait = in_time.seconds(response.headers.get("Retry-After", ""))
    return NotSent(f"HTTP {status}, {said}", status, _code(status, said), wait)


def _code(status: int, said: str) -> int:
    """What an error's line says, as a code of ours; 0 if it says nothing we know."""
    if status in (400, 402, 403) and _MONEY.search(said):
        return NO_MONEY
    if status == 400 and _RECIPIENT.search(said) and not _SENDER.search(said):
        return NO_SUCH_NUMBER
    return 0


def _body(row: Mapping[str, Any]) -> str:
    return str(row.get("message") or "").replace("\r\n", "\n")


def _moment(row: Mapping[str, Any]) -> datetime:
    """When it was created. Raises Unclear: a list that cannot be read proves nothing."""
    try:
        moment = datetime.fromisoformat(str(row.get("created")))
    except ValueError as error:
        raise Unclear("a list without times") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
