"""Many calls at once: greeting, postcode by keys, the answer, the key to hear it again, and hanging up."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from xml.etree import ElementTree

from tests.load.bed import Bed

HOLDS = 20  # times that a caller is asked to hold on before we take it for a failure
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


@dataclass
class Call:
    """One call. `took`: seconds of each turn; `failed`: why it did not go as it should."""

    id: str
    postcode: str
    point: str  # that the answer must name
    turns: list[str] = field(default_factory=list)  # ids of the turns that were answered
    took: list[float] = field(default_factory=list)
    held: int = 0
    failed: str = ""


class _Phone:
    """A connection of the provider's, opened again where the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, request: bytes) -> str | None:
        """The document, or None for an error."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 15)
        found = _LENGTH.search(head)
        body = await asyncio.wait_for(reader.readexactly(int(found[1]) if found else 0), 15)
        if b"connection: close" in head.lower():
            self.close()
        return body.decode() if head.startswith(b"HTTP/1.1 200") else None

    def close(self) -> None:
        """Hang up the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def all_at_once(bed: Bed, calls: list[Call]) -> None:
    """Make every call, beginning at the same moment."""
    await asyncio.gather(*(_call(bed, call, number) for number, call in enumerate(calls)))


async def _call(bed: Bed, call: Call, number: int) -> None:
    caller, phone = f"+46709{number:06d}", _Phone(bed.port)
    try:
        action = await _turn(bed, call, phone, "/twilio/voice", caller, {})
        action = await _turn(bed, call, phone, action, caller, {"Digits": call.postcode}, call.point)
        await _turn(bed, call, phone, action, caller, {"Digits": "1"}, call.point)
        fields = {"CallSid": call.id, "CallStatus": "completed", "From": caller}
        if await phone.post(bed.request("/twilio/voice/status", fields)) is None:
            call.failed = "the end of the call was not taken"
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        call.failed = call.failed or repr(error)
    finally:
        phone.close()


async def _turn(
    bed: Bed, call: Call, phone: _Phone, path: str, caller: str, keys: dict[str, str], point: str = ""
) -> str:
    """Where the next input goes. Raises ValueError on anything that a caller should not meet."""
    fields = {"CallSid": call.id, "From": caller, "To": "+46101234567", **keys}
    for _ in range(HOLDS):
        begun = time.perf_counter()
        document = await phone.post(bed.request(path, fields))
        call.took.append(time.perf_counter() - begun)
        if document is None:
            raise ValueError(f"{path}: no answer")
        root = ElementTree.fromstring(document)
        redirect = root.find("Redirect")
        if redirect is None:
            break
        call.held += 1
        await asyncio.sleep(5)
        path = redirect.text or ""  # the caller keys it in once more
    gather = root.find("Gather")
    if gather is None:
        raise ValueError(f"{path}: hung up on")
    if point and point not in document:
        raise ValueError(f"{path}: not told of {point}")
    call.turns.append(f"{call.id}/{path.rpartition('/')[2] if path[-1].isdigit() else 0}")
    return gather.attrib["action"]
