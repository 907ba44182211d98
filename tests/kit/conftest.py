"""A server that a laptop can be made from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from responder.store import sealedfile
from tests.kit.world import Pair, a_pair


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing is made cheap here: a test seals a dozen files."""
    monkeypatch.setattr(sealedfile, "_N", 1 << 4)


@pytest.fixture
def pair(tmp_path: Path, prepared: Path) -> Iterator[Pair]:
    """A server with four points."""
    with a_pair(tmp_path, prepared) as one:
        yield one
