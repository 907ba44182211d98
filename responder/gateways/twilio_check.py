"""What the provider has been told of us: the account, its money, and where its numbers post.

Sources: the account, balance, incoming number, short code and messaging service resources of Twilio's API. An
application or trunk on a number, and a messaging service that the number belongs to, override the number's own
addresses. Nothing is changed there.
"""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from responder.core.finding import Finding, plain, shown
from responder.gateways.self_check import STATUS
from responder.gateways.twilio import VOICE_PATH
from responder.gateways.web_check import Line, NoAnswer
from responder.ports import Clock
from responder.settings import Settings
from responder.store.vault import masked

API, MESSAGING = "https://api.twilio.com/2010-04-01", "https://messaging.twilio.com/v1"
TEXT_PATH = "/twilio/sms"
CLOCK_SECONDS = 2.0  # by which our clock may be off
LOW_BALANCE = 10.0  # in the account's own currency
_CONSOLE = "in Twilio's console:"
_NUMBER_PAGE = f"{_CONSOLE} Phone Numbers, Manage, Active numbers, the number,"
_SERVICE_PAGE = f"{_CONSOLE} Messaging, Services, the service, Integration,"
_SET_CLOCK = "let the system keep it (`timedatectl set-ntp true`), and look again with `timedatectl`"
Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """One address that the provider is told: names of its fields, what it should be, and where to set it."""

    what: str
    url: str
    method: str
    should: str
    page: str


class _Refused(RuntimeError):
    """The provider answered, but not with what was asked for. `status` is HTTP's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"is answered {status}")
        self.status = status


async def look_at_account(line: Line, settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Clock, account, balance, numbers. No more once the provider does not answer or does not know us."""
    books = _Books(line, settings, clock)
    try:
        account = await books.account()
    except NoAnswer as why:
        yield Finding(False, f"the provider's API ({books.host}) {why}: nothing can be sent while that is so")
        return
    except _Refused as refused:
        yield Finding(False, _unknown_account(refused, books.host))
        return
    yield books.clock_finding()
    yield _standing(account)
    for look in (_balance, _numbers):
        try:
            async for finding in look(books, settings):
                yield finding
        except NoAnswer as why:
            yield Finding(False, f"the provider's API {why}, asked for {books.asked}")
        except _Refused as refused:
            yield Finding(False, f"the provider's API {refused}, asked for {books.asked}")


class _Books:
    """The provider's API as this account reads it. `asked`: what it was asked last, fit to be printed."""

    def __init__(self, line: Line, settings: Settings, clock: Clock) -> None:
        self._line, self._clock, self._double = line, clock, settings.twilio_api_url
        self._account = settings.twilio_account_sid
        pair = f"{settings.twilio_account_sid}:{settings.twilio_auth_token}".encode()
        self._headers = {"Authorization": f"Basic {b64encode(pair).decode()}", "Accept": "application/json"}
        self._off: tuple[float, float] | None = None  # seconds we are ahead, and how sure that is
        self.asked = "the account"
        self.host = shown(self._address(API)).partition("://")[2].partition("/")[0]

    async def account(self) -> Resource:
        return await self._read(f"{API}/Accounts/{quote(self._account)}.json", "the account")

    async def of_account(self, path: str, asked: str) -> Resource:
        return await self._read(f"{API}/Accounts/{quote(self._account)}/{path}", asked)

    async def of_service(self, sid: str, path: str, asked: str) -> Resource:
        return await self._read(f"{MESSAGING}/Services/{quote(sid, safe='')}{path}", asked)

    def clock_finding(self) -> Finding:
        if self._off is None:
            return Finding(True, "clock: not compared, the provider's API tells no time")
        return off_by(*self._off, "the provider's")

    async def _read(self, address: str, asked: str) -> Resource:
        """The resource. Raises NoAnswer, _Refused."""
        self.asked = asked
        answer = await self._line.ask("GET", self._address(address), headers=self._headers)
        self._compare(answer.date, answer.took)
        if answer.status != 200:
            raise _Refused(answer.status)
        try:
            found = json.loads(answer.body)
        except ValueError:
            raise NoAnswer("answers with something that is not JSON: is another server in between?") from None
        return found if isinstance(found, dict) else {}

    def _compare(self, date: str, took: float) -> None:
        try:
            theirs = parsedate_to_datetime(date).timestamp() + 0.5  # whole seconds, cut off
        except (TypeError, ValueError):
            return
        self._off = (self._clock().timestamp() - took / 2 - theirs, 0.5 + took / 2)

    def _address(self, address: str) -> str:
        if not self._double:
            return address
        to = urlsplit(self._double)
        return urlunsplit((to.scheme, to.netloc, *urlsplit(address)[2:]))


def off_by(ahead: float, unsure: float, whose: str) -> Finding:
    """About a clock that is `ahead` seconds before another, `unsure` seconds more or less."""
    if abs(ahead) - unsure <= CLOCK_SECONDS:
        return Finding(True, f"clock: as {whose}, to {abs(ahead) + unsure:.1f} s")
    way = "ahead of" if ahead > 0 else "behind"
    return Finding(False, f"clock: {abs(ahead):.0f} s {way} {whose}; closing times and leases go by it: {_SET_CLOCK}")


def _unknown_account(refused: _Refused, host: str) -> str:
    if refused.status in (401, 403, 404):
        return (
            f"the provider does not know TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN ({refused.status}): copy both anew"
            " from the first page of its console; a token that was changed there is no longer valid here"
        )
    return f"the provider's API ({host}) {refused}: it is in trouble itself; look at https://status.twilio.com"


def _standing(account: Resource) -> Finding:
    status, kind = plain(str(account.get("status", "unknown"))), str(account.get("type", ""))
    if status != "active":
        return Finding(
            False, f"the provider's account is {status}: nothing is sent or received; pay or call the provider at once"
        )
    if kind == "Trial":
        return Finding(False, "the provider's account is a trial: it sends to verified numbers only; upgrade it")
    return Finding(True, "the provider's account is active, the token valid")


async def _balance(books: _Books, settings: Settings) -> AsyncIterator[Finding]:
    try:
        told = await books.of_account("Balance.json", "the balance")
        left, currency = float(told["balance"]), plain(str(told.get("currency", "")))
    except (KeyError, TypeError, ValueError):
        return
    except _Refused:
        yield Finding(True, "balance: the provider does not tell it of this account")
        return
    enough = left > LOW_BALANCE
    more = "" if enough else ": nothing is sent once it is spent; pay in, and switch automatic recharge on"
    yield Finding(enough, f"balance: {left:.2f} {currency}{more}")


async def _numbers(books: _Books, settings: Settings) -> AsyncIterator[Finding]:
    service, texts_to = settings.twilio_messaging_service_sid, settings.twilio_from
    own = True  # whether texts go where the number says
    if service:
        try:
            found = await books.of_service(service, "", "the messaging service")
        except _Refused as refused:
            if refused.status != 404:
                raise
            yield Finding(False, "the provider has no messaging service of this TWILIO_MESSAGING_SERVICE_SID")
            return
        own = bool(found.get("use_inbound_webhook_on_number"))
        if not own:
            async for finding in _differences(found, "messaging service", _of_service(settings), settings):
                yield finding
    texts, calls = await _which(books, settings, service, texts_to)
    for number in dict.fromkeys((*texts, *calls)):
        async for finding in _number(books, settings, number, own and number in texts, number in calls):
            yield finding
    if not texts and not calls and not service:
        yield Finding(False, "TWILIO_FROM is no number that the provider could call us for: residents cannot text it")


async def _which(
    books: _Books, settings: Settings, service: str, texts_to: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(numbers that are texted, numbers that are called)."""
    senders: tuple[str, ...] = ()
    if service and not texts_to:
        listed = await books.of_service(service, "/PhoneNumbers?PageSize=50", "the numbers of the messaging service")
        senders = tuple(str(row.get("phone_number", "")) for row in listed.get("phone_numbers", ()))
    texted = tuple(n for n in (texts_to, *senders) if n.lstrip("+").isdecimal())
    called = tuple(n for n in (texts_to, settings.twilio_call_from, *senders) if n.startswith("+"))
    return texted, called


async def _number(books: _Books, settings: Settings, number: str, texts: bool, calls: bool) -> AsyncIterator[Finding]:
    name = masked(number) if len(number) > 6 else number
    if number.startswith("+"):
        asked = f"IncomingPhoneNumbers.json?PhoneNumber={quote(number, safe='')}"
        rows = (await books.of_account(asked, f"the number {name}")).get("incoming_phone_numbers", ())
        rows = [row for row in rows if row.get("phone_number") == number]
    else:
        asked = f"SMS/ShortCodes.json?ShortCode={quote(number, safe='')}"
        rows = (await books.of_account(asked, f"the short code {name}")).get("short_codes", ())
    if not rows:
        yield Finding(False, f"number {name} does not belong to the provider's account: is it written as there?")
        return
    places = [*(_of_texts(settings) if texts else ()), *(_of_calls(settings) if calls else ())]
    for field, what in (("sms_application_sid", "texts"), ("voice_application_sid", "calls"), ("trunk_sid", "calls")):
        if rows[0].get(field) and (texts if what == "texts" else calls):
            yield Finding(
                False,
                f"number {name}: its {what} go by {field.removesuffix('_sid').replace('_', ' ')}, whatever addresses"
                f" stand beside; set it with: {_NUMBER_PAGE} Configure with: Webhook",
            )
            places = [place for place in places if not place.what.startswith(what)]
    async for finding in _differences(rows[0], f"number {name}", places, settings):
        yield finding


async def _differences(found: Resource, name: str, places: list[_Place], settings: Settings) -> AsyncIterator[Finding]:
    wrong = 0
    for place in places:
        address, method = str(found.get(place.url) or ""), str(found.get(place.method) or "POST").upper()
        if fault := _fault(place, address, method, settings):
            wrong += 1
            yield Finding(False, f"{name}: {place.what} {fault}; set it with: {place.page}")
    if places and not wrong:
        yield Finding(True, f"{name}: the provider posts to PUBLIC_URL, and has a fallback elsewhere")


def _fault(place: _Place, address: str, method: str, settings: Settings) -> str:
    """What is wrong with an address at the provider, or ""."""
    told = shown(address) if address else "empty"
    if not place.should:
        if not address:
            return "is empty, should be an address that answers when nothing of ours does (flows/fallback, elsewhere)"
        if urlsplit(address).hostname == urlsplit(settings.public_url).hostname:
            return f"is {told}, should be on another host: this one is away when it is needed"
        return ""
    if address != place.should:
        also = " (they differ in what is not shown)" if shown(address) == shown(place.should) else ""
        return f"is {told}, should be {shown(place.should)}{also}"
    if method != "POST":
        return f"is asked with {plain(method)}, should be HTTP POST"
    return ""


def _of_texts(settings: Settings) -> list[_Place]:
    url, page = settings.public_url, f"{_NUMBER_PAGE} Messaging,"
    return [
        _Place("texts: `A message comes in`", "sms_url", "sms_method", url + TEXT_PATH, f"{page} A message comes in"),
        _Place("texts: the fallback", "sms_fallback_url", "sms_fallback_method", "", f"{page} Primary handler fails"),
    ]


def _of_calls(settings: Settings) -> list[_Place]:
    url, page = settings.public_url, f"{_NUMBER_PAGE} Voice,"
    status = f"{page} Call status changes"
    return [
        _Place("calls: `A call comes in`", "voice_url", "voice_method", url + VOICE_PATH, f"{page} A call comes in"),
        _Place("calls: `Call status changes`", "status_callback", "status_callback_method", url + STATUS, status),
        _Place(
            "calls: the fallback", "voice_fallback_url", "voice_fallback_method", "", f"{page} Primary handler fails"
        ),
    ]


def _of_service(settings: Settings) -> list[_Place]:
    request, fallback = f"{_SERVICE_PAGE} Send a webhook, Request URL", f"{_SERVICE_PAGE} Send a webhook, Fallback URL"
    return [
        _Place("texts", "inbound_request_url", "inbound_method", settings.public_url + TEXT_PATH, request),
        _Place("texts: the fallback", "fallback_url", "fallback_method", "", fallback),
    ]
