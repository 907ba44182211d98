"""The operators' menu through 46elks: recordings and keys."""

from collections.abc import Callable

import pyotp

from responder.core.access import Operator, Role
from responder.core.points import Status
from responder.store import accounts, desk
from responder.store.queries import read_point
from tests.fakes.elks import FakeElks
from tests.sending.conftest import MOBILE, Line


def test_a_point_is_closed_in_a_call(elks_line: Callable[..., Line]) -> None:
    line, secret = elks_line(), pyotp.random_base32()
    service, fake = line.service, line.fake
    assert isinstance(fake, FakeElks)
    with service.database.write() as connection:
        anna = Operator("anna", Role.COMMUNICATOR, created_by="root")
        sealed, known = service.vault.seal(MOBILE), service.vault.newest(MOBILE)
        accounts.add_operator(connection, anna, "", sealed, service.clock().timestamp(), known)
        accounts.set_credentials(connection, "anna", totp_sealed=service.vault.seal(secret))
    service.desk.look()
    code = pyotp.TOTP(secret).at(service.clock())
    heard = fake.ring_us(MOBILE, "00000", f"{code}#", "1#", "3", "1")
    assert (
        heard.spoken[1] == "Slå din kod och sedan fyrkant."
        and heard.spoken[2] == "Slå punktens nummer och sedan fyrkant."
    )
    assert any("är stängd" in said for said in heard.spoken) and fake.broken == []
    with service.database.read() as connection:
        found = read_point(connection, desk.point_of(connection, 1) or "")
    assert found and found[0].status is Status.CLOSED
