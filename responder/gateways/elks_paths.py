"""Where 46elks reaches us: an address with a secret in it, since it signs nothing.

Whatever is passed on holds paths without the secret, `/46elks/voice`; it comes in where a path becomes the address that
the provider is told.
"""

ROOT = "/46elks"
TEXT, VOICE, ENDED, RECEIPTS, CALLED = "text", "voice", "ended", "receipts", "called"


class Paths:
    """The addresses of one service. `secret`: a segment of them that nobody can guess."""

    def __init__(self, public_url: str, secret: str) -> None:
        self._base, self._secret = f"{public_url}{ROOT}/{secret}", secret

    def address(self, path: str) -> str:
        """The whole address of a `path` below ROOT."""
        return self._base + path.removeprefix(ROOT)

    def secret_in(self, target: str) -> str:
        """The segment of a raw target where the secret belongs."""
        return target.removeprefix(f"{ROOT}/").partition("/")[0]
