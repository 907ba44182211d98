"""Phone numbers and texts at rest: sealed with AES-GCM, found again by a keyed hash. Keys rotate, newest first."""

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class Vault:
    """Seals with the newest key, opens with any; hashes with each key, newest first."""

    def __init__(self, number_keys: tuple[str, ...], lookup_keys: tuple[str, ...]) -> None:
        self._ciphers = [AESGCM(hashlib.sha256(key.encode()).digest()) for key in number_keys]
        self._number_keys = [key.encode() for key in number_keys]
        self._lookup_keys = [key.encode() for key in lookup_keys]

    def newest(self, text: str) -> bytes:
        """16 bytes by the newest LOOKUP_KEY."""
        return hmac.digest(self._lookup_keys[0], text.encode("utf-8", "replace"), "sha256")[:16]

    def seal(self, text: str) -> bytes:
        """`text` encrypted: 12 bytes of nonce, then ciphertext and tag."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._ciphers[0].encrypt(nonce, text.encode("utf-8", "replace"), None)

    def open(self, sealed: bytes) -> str:
        """What was sealed. Raises ValueError if no key opens it."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None).decode()
            except InvalidTag:
                continue
        raise ValueError("no NUMBER_KEY opens this")

    @property
    def fingerprint(self) -> str:
        """Tells which keys are the newest, without telling them."""
        return f"{_fingerprint(self._lookup_keys[0])}-{_fingerprint(self._number_keys[0])}"

    def lacks(self, fingerprint: str) -> tuple[str, ...]:
        """The settings of which none of our keys is the one in a `fingerprint`."""
        looking_up, _, sealing = fingerprint.partition("-")
        kept = (("NUMBER_KEY", sealing, self._number_keys), ("LOOKUP_KEY", looking_up, self._lookup_keys))
        return tuple(name for name, wanted, keys in kept if wanted not in map(_fingerprint, keys))

    @property
    def ring(self) -> str:
        """Tells which keys there are, without telling them."""
        every = b"\n".join((*self._number_keys, b"", *self._lookup_keys))
        return hmac.digest(self._number_keys[0], every, "sha256")[:16].hex()

    def hashes(self, text: str) -> list[bytes]:
        """16 bytes for each LOOKUP_KEY, newest first."""
        data = text.encode("utf-8", "replace")
        return [hmac.digest(key, data, "sha256")[:16] for key in self._lookup_keys]


def _fingerprint(key: bytes) -> str:
    return hmac.digest(key, b"fingerprint", "sha256")[:8].hex()


def masked(number: str) -> str:
    """A number fit for a log: "+4670*****05"."""
    return f"{number[:5]}{'*' * max(0, len(number) - 7)}{number[-2:]}" if len(number) > 7 else "***"
