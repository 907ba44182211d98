"""Twilio's REST API: one text or call at a time, by the library's asynchronous client.

The client's own time-out is ignored by its HTTP class and its pool holds 100 connections; both are set here. What it
raises is sorted into what was surely not sent and what may have been.
"""

import logging
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aiohttp import ClientConnectorError, encode_basic_auth
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from responder.gateways import in_time
from responder.gateways.forms import answered_id
from responder.ports import NotSent, Sent, Unclear

TOO_MANY = 20429
LISTED = 200  # newest messages to a number that are looked through
RING_SECONDS = 30
REPLY = "outbound-reply"
_EVENTS = ["initiated", "ringing", "answered", "completed"]


class TwilioSender:
    """One account: texts come from `number` or the `service`, calls from `caller`. Lives in one event loop."""

    def __init__(
        self,
        account: str,
        token: str,
        api_url: str,
        public_url: str,
        number: str,
        caller: str,
        service: str,
        pool: int,
        timeout: float,
    ) -> None:
        self._account, self._token, self._api_url, self._public_url = account, token, api_url, public_url
        self._number, self._caller, self._service = number, caller, service
        self.calls = caller.startswith("+")  # a refused caller would be taken for a refused account, texts and all
        self._pool, self._timeout = pool, timeout
        self._opened: Client | None = None
        logging.getLogger("twilio").setLevel(logging.ERROR)  # it would log numbers

    async def text(self, number: str, body: str, receipts: str, valid: int) -> str:
        """See ports.Sender."""
        sender = {"messaging_service_sid": self._service} if self._service else {"from_": self._number}
        return await self._created(
            self._client.messages.create_async(
                to=number, body=body, status_callback=self._public_url + receipts, validity_period=valid, **sender
            )
        )

    async def call(self, number: str, document: str, receipts: str) -> str:
        """See ports.Sender."""
        return await self._created(
            self._client.calls.create_async(
                to=number, from_=self._caller, twiml=document, status_callback=self._public_url + receipts,
                status_callback_event=_EVENTS, timeout=RING_SECONDS,
            )
        )  # fmt: skip

    async def find(self, number: str, call: bool, since: datetime) -> list[Sent]:
        """See ports.Sender. No filter by date: `date_sent` is empty while a message is queued. A reply to a text that
        came in is none of what was sent so, though it reads alike.
        """
        listed = self._client.calls if call else self._client.messages
        rows = await self._sorted(listed.list_async(to=number, limit=LISTED, page_size=LISTED))
        if not all(row.date_created for row in rows):
            raise Unclear("a list without times")
        newer = [row for row in rows if row.date_created >= since]
        if len(newer) == LISTED:
            raise Unclear(f"the list is longer than {LISTED}")
        return [Sent(row.sid, "" if call else row.body, row.date_created) for row in newer if row.direction != REPLY]

    async def close(self) -> None:
        """See ports.Sender."""
        if self._opened is not None:
            await self._opened.http_client.close()
            self._opened = None

    @property
    def _client(self) -> Client:
        if self._opened is None:  # inside the running loop: the library needs one
            http = _Http(self._api_url, self._pool, self._timeout)
            self._opened = Client(self._account, self._token, http_client=http)
        return self._opened

    async def _created(self, request: Any) -> str:
        return answered_id((await self._sorted(request)).sid)

    async def _sorted(self, request: Any) -> Any:
        """The answer; NotSent where nothing was taken, Unclear where something may have been."""
        try:
            return await request
        except ClientConnectorError as error:
            raise NotSent(f"cannot connect: {error}") from error
        except TwilioRestException as error:
            if 400 <= error.status < 500 and error.status != 408:
                raise NotSent(f"HTTP {error.status}, {error.code}", error.status, error.code or 0) from error
            raise Unclear(f"HTTP {error.status}") from error
        except NotSent:
            raise
        except Exception as error:  # the library does not say what it raises over an answer that it cannot read
            raise Unclear(f"{type(error).__name__}: {error}") from error


class _Http(AsyncTwilioHttpClient):  # type: ignore[misc]
    """The library's client with a pool and a time-out of our choice, and maybe another address."""

    def __init__(self, api_url: str, pool: int, timeout: float) -> None:
        super().__init__(pool_connections=False)
        self.session = in_time.session(pool, timeout)
        self._timeout = timeout
        self._to = urlsplit(api_url) if api_url else None

    async def request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        """As the library's. Raises NotSent with the seconds to wait where we are too fast."""
        if self._to:
            parts = urlsplit(url)
            url = urlunsplit((self._to.scheme, self._to.netloc, *parts[2:]))
        in_time.begin(self._timeout)
        account, token = options.pop("auth")
        options["headers"] = {**options["headers"], "Authorization": encode_basic_auth(account, token)}
        response = await super().request(method, url, *args, **options)
        if response.status_code == 429:
            raise NotSent("too fast", 429, TOO_MANY, in_time.seconds(response.headers.get("Retry-After", "")))
        return response
