"""A file sealed with a passphrase, written and read piece by piece, so that it need not fit into memory.

    MAGIC, a line of JSON (version, kind, scrypt's n, r, p and salt, a check of the passphrase), then the pieces

scrypt makes the key of the passphrase; each piece is sealed by AES-GCM with its number and whether it is the last, and
with the header, so that no piece can be changed, left out, put elsewhere or cut off unnoticed.
"""

import hmac
import io
import json
import secrets
import unicodedata
from hashlib import sha256
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"TRYGGHETSSVAR KIT\n"
VERSION = 1
PIECE = 1 << 20  # bytes before they are sealed
_TAG = 16
_N, _R, _P = 1 << 17, 8, 1  # 128 MB and about half a second for each guess
_DEAREST = 1 << 30  # bytes of memory that a header may ask for
_HEADER = 4096  # bytes, at most
_HEX = {"salt": 16, "check": 32}


class SealError(RuntimeError):
    """A sealed file that cannot be opened: the message says why."""


class SealedWriter(io.RawIOBase):
    """Seals what is written to it into `file`. Without `finish` what was written cannot be read."""

    def __init__(self, file: BinaryIO, passphrase: str, kind: str) -> None:
        salt = secrets.token_bytes(16)
        key, check = _derived(passphrase, salt, _N, _R, _P)
        header = {"version": VERSION, "kind": kind, "kdf": "scrypt", "n": _N, "r": _R, "p": _P, "salt": salt.hex(),
                  "cipher": "AES-256-GCM", "check": check.hex()}  # fmt: skip
        self._head = MAGIC + json.dumps(header).encode() + b"\n"
        self._file, self._cipher, self._number, self._kept = file, AESGCM(key), 0, bytearray()
        file.write(self._head)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Take all of `data`."""
        self._kept += data
        while len(self._kept) > PIECE:  # the last piece is never empty, unless the file is
            self._seal(bytes(self._kept[:PIECE]), last=False)
            del self._kept[:PIECE]
        return len(data)

    def finish(self) -> None:
        """Seal what is left as the last piece."""
        self._seal(bytes(self._kept), last=True)
        self._kept.clear()

    def _seal(self, piece: bytes, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), piece, self._head))
        self._number += 1


class SealedReader(io.RawIOBase):
    """Reads what a SealedWriter wrote to `file`. Raises SealError; then nothing of what was read may be used."""

    def __init__(self, file: BinaryIO, passphrase: str, name: str) -> None:
        self._file, self._name, self._number, self._kept = file, name, 0, b""
        self._head, header = read_header(file, name)
        self.kind = str(header["kind"])
        salt, expected = bytes.fromhex(header["salt"]), bytes.fromhex(header["check"])
        key, check = _derived(passphrase, salt, header["n"], header["r"], header["p"])
        if not hmac.compare_digest(check, expected):
            raise SealError(f"{name}: the passphrase is wrong")
        self._cipher = AESGCM(key)
        self._next = file.read(PIECE + _TAG)
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes; all that are left if it is negative. b"" at the end."""
        wanted = -1 if size is None else size
        while not self._ended and (wanted < 0 or len(self._kept) < wanted):
            self._kept += self._opened()
        wanted = len(self._kept) if wanted < 0 else wanted
        found, self._kept = self._kept[:wanted], self._kept[wanted:]
        return found

    def read_to_the_end(self) -> None:
        """See that all of it is whole."""
        while self.read(PIECE):
            pass

    def _opened(self) -> bytes:
        piece, self._next = self._next, self._file.read(PIECE + _TAG)
        self._ended = not self._next
        try:
            found = self._cipher.decrypt(_nonce(self._number, self._ended), piece, self._head)
        except (InvalidTag, ValueError) as error:
            raise SealError(f"{self._name} is damaged or cut off: nothing of it was used") from error
        self._number += 1
        return found


def is_sealed(first: bytes) -> bool:
    """Whether a file that begins so is one of these."""
    return first.startswith(MAGIC)


def read_header(file: BinaryIO, name: str) -> tuple[bytes, dict[str, Any]]:
    """(magic and header as they stand, the header). Raises SealError."""
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        raise SealError(f"{name} is no kit and no return of one")
    line = file.readline(_HEADER)
    try:
        header = json.loads(line)
        version = int(header["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise SealError(f"{name} is damaged: its header cannot be read") from error
    if version > VERSION:
        raise SealError(f"{name} is of format {version}, and this version knows {VERSION}: install the newer version")
    if not _is_sane(header):
        raise SealError(f"{name} is damaged: its header makes no sense")
    return magic + line, header


def _is_sane(header: dict[str, Any]) -> bool:
    numbers = [header.get(name) for name in ("n", "r", "p")]
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return False
    n, r, p = (int(number or 0) for number in numbers)
    texts = all(isinstance(header.get(name), str) and len(header[name]) == 2 * size for name, size in _HEX.items())
    try:
        texts = texts and all(bytes.fromhex(header[name]) for name in _HEX)
    except ValueError:
        return False
    return texts and "kind" in header and n > 1 and n & (n - 1) == 0 and 128 * n * r * p <= _DEAREST


def _derived(passphrase: str, salt: bytes, n: int, r: int, p: int) -> tuple[bytes, bytes]:
    """(the key, what tells a wrong passphrase from a damaged file). The same text typed on any keyboard is the same."""
    typed = unicodedata.normalize("NFC", passphrase).encode()
    made = Scrypt(salt=salt, length=64, n=n, r=r, p=p).derive(typed)
    return made[:32], sha256(made[32:]).digest()


def _nonce(number: int, last: bool) -> bytes:
    """No key seals two files: the number is enough."""
    return number.to_bytes(11, "big") + bytes([last])
