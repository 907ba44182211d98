"""What all tests of the web stand on."""

import pytest

from responder.web import monitor


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a database that answers late is not away; a test of one that hangs sets its own time."""
    monkeypatch.setattr(monitor, "PATIENCE", 30.0)
