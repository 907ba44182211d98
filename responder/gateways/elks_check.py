"""What 46elks has been told of us: whether it knows the account, its money, and where the number posts.

Sources: the account and number resources of 46elks' API. Money is in ten-thousandths of the account's currency. Nothing
is changed there, and no address is printed with the secret in it.
"""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

from responder.core.finding import Finding, plain, shown
from responder.gateways.elks_paths import ROOT, TEXT, VOICE, Paths
from responder.gateways.elks_sender import API
from responder.gateways.web_check import Line, NoAnswer
from responder.settings import Settings
from responder.store.vault import masked

LOW_BALANCE = 100.0  # in the account's own currency, kronor as a rule
_MONEY = 10_000
_PAGES = 20
_PAGE = "in 46elks' dashboard: Numbers, the number"
Resource = Mapping[str, Any]


class _Refused(RuntimeError):
    """It answered, but not with what was asked for. `status` is HTTP's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"is answered {status}")
        self.status = status


async def look_at_elks(line: Line, settings: Settings) -> AsyncIterator[Finding]:
    """Account, balance, number. No more once it does not answer or does not know us."""
    books = _Books(line, settings)
    try:
        account = await books.read("me")
        yield Finding(True, "46elks knows ELKS_USERNAME with ELKS_PASSWORD")
        yield _balance(account)
        async for finding in _number(books, settings):
            yield finding
    except NoAnswer as why:
        yield Finding(False, f"46elks' API ({books.host}) {why}: nothing can be sent through it while that is so")
    except _Refused as refused:
        yield Finding(False, _unknown(refused, books.host))


class _Books:
    """46elks' API as this account reads it."""

    def __init__(self, line: Line, settings: Settings) -> None:
        self._line, self._api = line, settings.elks_api_url or API
        pair = f"{settings.elks_username}:{settings.elks_password}".encode()
        self._headers = {"Authorization": f"Basic {b64encode(pair).decode()}", "Accept": "application/json"}
        self.host = shown(self._api).partition("://")[2].partition("/")[0]

    async def read(self, what: str) -> Resource:
        """The resource. Raises NoAnswer, _Refused."""
        answer = await self._line.ask("GET", f"{self._api}/a1/{what}", headers=self._headers)
        if answer.status != 200:
            raise _Refused(answer.status)
        try:
            found = json.loads(answer.body)
        except ValueError:
            raise NoAnswer("answers with something that is not JSON: is another server in between?") from None
        return found if isinstance(found, dict) else {}

    async def number(self, number: str) -> Resource | None:
        """The number of the account, or None. Raises NoAnswer, _Refused."""
        asked = "numbers?limit=100"
        for _ in range(_PAGES):
            page = await self.read(asked)
            rows = [row for row in page.get("data") or () if isinstance(row, dict)]
            for row in rows:
                if row.get("number") == number and row.get("active") != "no":
                    return row
            if not page.get("next"):
                return None
            asked = f"numbers?limit=100&start={page['next']}"
        return None


def _unknown(refused: _Refused, host: str) -> str:
    if refused.status in (401, 403, 404):
        return (
            f"46elks does not know ELKS_USERNAME with ELKS_PASSWORD ({refused.status}): copy both anew from its"
            " dashboard, under Account"
        )
    return f"46elks' API ({host}) {refused}: it is in trouble itself"


def _balance(account: Resource) -> Finding:
    try:
        left = float(account["balance"]) / _MONEY
    except (KeyError, TypeError, ValueError):
        return Finding(True, "46elks: the balance is not told of this account")
    enough = left > LOW_BALANCE
    more = "" if enough else ": nothing is sent once it is spent; pay in"
    return Finding(enough, f"46elks: {left:.2f} {plain(str(account.get('currency', '')))} left{more}")


async def _number(books: _Books, settings: Settings) -> AsyncIterator[Finding]:
    number, name = settings.elks_from, masked(settings.elks_from)
    row = await books.number(number)
    if row is None:
        yield Finding(False, f"46elks: number {name} (ELKS_FROM) is not an active number of the account")
        return
    paths = Paths(settings.public_url, settings.elks_path)
    should = {"sms_url": (TEXT, "texts"), "voice_start": (VOICE, "calls")}
    able = row.get("capabilities") or ["sms", "voice"]
    wrong = 0
    for field, (path, what) in should.items():
        if ("sms" if what == "texts" else "voice") not in able:
            wrong += 1
            yield Finding(False, f"46elks: number {name} takes no {what}: it can {plain(', '.join(map(str, able)))}")
        elif fault := _fault(str(row.get(field) or ""), paths.address(f"{ROOT}/{path}"), settings.elks_path):
            wrong += 1
            yield Finding(False, f"46elks: number {name}: {what}: {field} {fault}; set it {_PAGE}")
    if not wrong:
        yield Finding(True, f"46elks: number {name} posts to PUBLIC_URL, texts and calls")


def _fault(address: str, should: str, secret: str) -> str:
    """What is wrong with an address at the provider, or "". Neither is told with the secret."""
    if address == should:
        return ""
    told, wanted = (shown(one).replace(secret, "ELKS_PATH") for one in (address, should))
    return f"is {told or 'empty'}, should be {wanted}{' (they differ in ELKS_PATH)' if told == wanted else ''}"
