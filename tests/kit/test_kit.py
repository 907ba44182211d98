"""A kit: what is in it, what is not, and that nobody opens it by mistake."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlmodel import SQLModel

from responder.actions import kit as kits
from responder.core.points import Status
from responder.settings import Settings, load_settings
from responder.store import kit_copy, sealedfile
from responder.store.dump import BackupError
from responder.store.kits import KitError
from responder.store.schedule import join
from responder.store.sealedfile import SealError
from responder.wiring import wire
from tests.kit.test_merge import an_account, follow
from tests.kit.world import ANNA, BO, CILLA, PASSPHRASE, WHO, Pair, Side


def files(folder: Path) -> list[str]:
    """Everything in a folder, what is hidden too, but the server's own database."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(("responder.db", "metrics")))


def test_every_table_is_said_to_go_along_or_not() -> None:
    assert sorted(kit_copy.GOES) == sorted(SQLModel.metadata.tables)


def test_a_laptop_answers_as_the_server_did(pair: Pair) -> None:
    expected = pair.server.text(ANNA, "12347")
    assert pair.laptop().text(BO, "12347") == expected


def test_it_is_its_owners_alone_and_nothing_of_it_can_be_read(pair: Pair) -> None:
    follow(pair.server, ANNA)
    file = pair.make()
    sealed = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"SQLite" not in sealed and b"near" not in sealed and b"NUMBER_KEY" not in sealed
    laptop = pair.open(file)
    folder = pair.folder / "laptop"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "lists" / "lists.html").stat().st_mode) == 0o600
    assert laptop.follows(ANNA) == [("12347", "active")]
    assert files(pair.folder) == ["a.kit", "laptop"]


def test_no_secret_of_a_provider_goes_along_and_the_keys_of_numbers_do(pair: Pair) -> None:
    chosen = {
        "twilio_auth_token": "a-token-of-twilio", "twilio_account_sid": "AC77", "elks_password": "a-word-of-elks",
        "secret_key": "the-servers-own", "number_key": "n" * 32, "lookup_key": "l'" * 16, "sender_name": "Stad #1 'x'",
        "metrics_token": "m" * 16, "gateway": "twilio", "public_url": "https://svar.example",
    }  # fmt: skip
    env = kits.env_of(Settings(_env_file=None, **chosen))  # type: ignore[call-arg,arg-type]
    assert not [value for value in ("a-token", "AC77", "a-word", "the-servers", "mmmm", "svar.example") if value in env]
    path = pair.folder / "env"
    path.write_text(env)
    settings = Settings(_env_file=path)  # type: ignore[call-arg]
    assert (settings.number_key, settings.lookup_key) == ("n" * 32, "l'" * 16)
    assert (settings.sender_name, settings.gateway, settings.real) == ("Stad #1 'x'", "modem", True)
    assert len(settings.secret_key) > 32 and settings.database_url == "sqlite:///responder.db"
    settings.check()


def test_a_demo_stays_a_demo(pair: Pair) -> None:
    assert "GATEWAY=recorder,modem\n" in kits.env_of(pair.server.service.settings)


def test_what_waits_on_the_server_stays_the_servers(pair: Pair) -> None:
    follow(pair.server, ANNA, BO, CILLA)
    pair.server.set("near", Status.CLOSED)
    pair.server.push()
    for number, state in ((ANNA, "queued"), (BO, "sending"), (CILLA, "delivered")):
        pair.server.do(
            "UPDATE deliveries SET state = :state WHERE number_hash = :hash", state=state, hash=pair.server.hash(number)
        )
    laptop = pair.laptop()
    assert laptop.rows("SELECT state FROM deliveries") == [("delivered",)]
    assert laptop.rows("SELECT state FROM broadcasts WHERE kind = 'status'") == [("stopped",)]
    assert laptop.send() == []


def test_broadcasts_that_go_out_are_paused_there_and_have_no_time(pair: Pair) -> None:
    for state, at in (("sending", None), ("approved", 9e9)):
        pair.server.add(
            "broadcasts",
            kind="message",
            template="free",
            state=state,
            priority=4,
            operator="anna",
            created_at=1.0,
            send_at=at,
        )
    pair.server.add("due", job="send:3", at=9e9)
    laptop = pair.laptop(released=False)
    wanted = "SELECT state, send_at FROM broadcasts WHERE kind = 'message' ORDER BY id"
    assert laptop.rows(wanted) == [("paused", None), ("approved", None)]
    assert pair.server.rows(wanted) == [("sending", None), ("approved", 9e9)]
    assert laptop.rows("SELECT * FROM due") == []
    assert pair.merge(laptop).nothing  # that they are paused there is the kit's doing


def test_nothing_is_pushed_or_sent_until_somebody_says_so(pair: Pair) -> None:
    laptop = pair.laptop(released=False)
    with laptop.service.database.write() as connection:
        assert join(connection, "a process", laptop.clock.now.timestamp(), 10) == 0
    laptop.release()
    with laptop.service.database.write() as connection:
        assert join(connection, "a process", laptop.clock.now.timestamp(), 10) == 1


def test_who_can_come_in_on_the_laptop(pair: Pair) -> None:
    for name in ("bo", "gone"):
        an_account(pair.server, name, "reporter", '["a"]')
        pair.server.do(
            "UPDATE operators SET password_hash = 'p', totp_sealed = :some, invite_hash = 'i', invite_until = 9e9"
            " WHERE name = :name",
            name=name, some=b"sealed",
        )  # fmt: skip
    pair.server.do("UPDATE operators SET disabled_at = 5 WHERE name = 'gone'")
    pair.server.add(
        "sessions", id_hash="h", operator="bo", created_at=1.0, seen_at=1.0, fresh_at=1.0, address="", agent=""
    )
    pair.server.add("failures", scope="a:bo", count=9, last_at=1.0)
    laptop = pair.laptop()
    rows = laptop.rows("SELECT name, password_hash, totp_sealed, recovery, invite_hash FROM operators ORDER BY name")
    assert rows == [("bo", "p", b"sealed", '["a"]', ""), ("gone", "", b"", "[]", "")]
    assert laptop.rows("SELECT * FROM sessions") == laptop.rows("SELECT * FROM failures") == []


def test_an_exercise_is_over_on_the_laptop(pair: Pair) -> None:
    pair.server.add("exercises", name="Övning", begun_by="anna", begun_at=1.0, current=1)
    assert pair.laptop().rows("SELECT current, ended_by FROM exercises") == [(None, "kit")]


def test_the_lists_say_whom_to_call_and_where(pair: Pair) -> None:
    vault = pair.server.service.vault
    an_account(pair.server, "bo", "approver")
    pair.server.do("UPDATE operators SET phone_sealed = :sealed", sealed=vault.seal(ANNA))
    pair.server.add(
        "hosts",
        point="near",
        name="Eva <b>",
        number_hash=b"h",
        number_sealed=vault.seal(BO),
        created_by="x",
        created_at=1.0,
    )
    pair.open(pair.make())
    text = (pair.folder / "laptop" / "lists" / "lists.txt").read_text(encoding="utf-8")
    page = (pair.folder / "laptop" / "lists" / "lists.html").read_text(encoding="utf-8")
    [(number,)] = pair.server.rows("SELECT number FROM point_numbers WHERE point = 'near'")
    assert f"Nr: {number}  Namn: Hallen near  Adress: Testgatan 36, Farsta" in text
    for said in ("bo", ANNA, BO, "godkänner, alla stadsdelar", "Hallen south", "stängd", "LÄGE", "responder release"):
        assert said in text and said in page
    assert "Eva &lt;b&gt;" in page and "src=" not in page and "href=" not in page


def test_show_says_what_it_is_and_unpacks_nothing(pair: Pair) -> None:
    file = pair.make()
    before = files(pair.folder)
    said = kits.show(file, PASSPHRASE)
    assert (said["kind"], said["made_by"], said["rows"]["points"]) == ("kit", WHO, 4)
    assert files(pair.folder) == before


@pytest.mark.parametrize("passphrase", ["kort", "password1234", "aaaaaaaaaaaaaaaa", "123456789012"])
def test_a_passphrase_that_can_be_guessed_is_refused(pair: Pair, passphrase: str) -> None:
    service, file = pair.server.service, pair.folder / "a.kit"
    with pytest.raises(KitError, match="passphrase is too"):
        kits.make(service.database, service.settings, service.vault, WHO, pair.server.clock.now, file, passphrase)
    assert files(pair.folder) == [] and pair.server.rows("SELECT * FROM kits") == []


def refused(pair: Pair, file: Path, match: str, passphrase: str = PASSPHRASE, later: float = 1) -> None:
    """Opening it fails, and leaves nothing."""
    now = pair.server.clock.now + timedelta(seconds=later)
    with pytest.raises((KitError, SealError, BackupError), match=match):
        kits.open_kit(file, pair.folder / "laptop", passphrase, now)
    assert not [name for name in files(pair.folder) if "laptop" in name]


def test_a_wrong_passphrase_is_told_from_damage(pair: Pair) -> None:
    refused(pair, pair.make(), "the passphrase is wrong", "fem ovanliga ord om en lampa")


@pytest.mark.parametrize("where", [0.3, 0.6, 0.999])
def test_a_damaged_one_is_refused_wherever_it_is(pair: Pair, where: float) -> None:
    file = pair.make()
    content = bytearray(file.read_bytes())
    content[int(len(content) * where)] ^= 1
    file.write_bytes(content)
    refused(pair, file, "is damaged")
    with pytest.raises(SealError, match="is damaged"):
        kits.show(file, PASSPHRASE)


def test_one_that_is_cut_off_is_refused_even_between_two_pieces(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealedfile, "PIECE", 4096)
    file = pair.make()
    content = file.read_bytes()
    head = content.index(b"\n", len(sealedfile.MAGIC)) + 1
    for size in (len(content) - 1, head + 4 * (4096 + 16), head + 4096 + 16, head + 10, head):
        file.write_bytes(content[:size])
        refused(pair, file, "is damaged")


def test_pieces_cannot_change_places(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealedfile, "PIECE", 4096)
    file = pair.make()
    content, size = file.read_bytes(), 4096 + 16
    head = content.index(b"\n", len(sealedfile.MAGIC)) + 1
    pieces = [content[at : at + size] for at in range(head, len(content), size)]
    pieces[3], pieces[4] = pieces[4], pieces[3]
    file.write_bytes(content[:head] + b"".join(pieces))
    refused(pair, file, "is damaged")


def header_of(file: Path, **changed: object) -> None:
    """Change the header of a sealed file."""
    magic, line, rest = file.read_bytes().split(b"\n", 2)
    file.write_bytes(b"\n".join((magic, json.dumps(json.loads(line) | changed).encode(), rest)))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"version": 2}, "install the newer version"),
        ({"n": 1 << 40}, "makes no sense"),
        ({"n": 3}, "makes no sense"),
        ({"salt": "zz" * 16}, "makes no sense"),
        ({"n": 1 << 5}, "passphrase is wrong"),
        ({"kind": "return"}, "is what came back|is damaged"),
        ({"more": 1}, "is damaged"),
    ],
)
def test_a_header_that_was_changed_is_refused(pair: Pair, changed: dict[str, object], match: str) -> None:
    file = pair.make()
    header_of(file, **changed)
    refused(pair, file, match)


def test_what_is_no_kit_is_refused(pair: Pair) -> None:
    file = pair.folder / "notes.txt"
    for content in (b"", b"hello", sealedfile.MAGIC, sealedfile.MAGIC + b"{}\n", sealedfile.MAGIC + b"x" * 9000):
        file.write_bytes(content)
        refused(pair, file, "no kit|is damaged")


def test_a_kit_of_a_newer_revision_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pair.make()
    monkeypatch.setattr("responder.store.migrations.known", lambda: ("0004", "0003"))
    refused(pair, file, "a newer version made it")


def test_a_laptop_whose_clock_is_behind_is_told_so(pair: Pair) -> None:
    refused(pair, pair.make(), "clock of this computer says", later=-3600)


def test_nothing_is_overwritten(pair: Pair) -> None:
    file = pair.make()
    with pytest.raises(KitError, match="is there already"):
        pair.make()
    (pair.folder / "laptop").mkdir()
    with pytest.raises(KitError, match="is there already"):
        kits.open_kit(file, pair.folder / "laptop", PASSPHRASE, pair.server.clock.now)


def test_what_is_no_file_is_never_replaced(pair: Pair) -> None:
    pipe = pair.folder / "pipe"
    os.mkfifo(pipe)
    service, now = pair.server.service, pair.server.clock.now
    with pytest.raises(KitError, match="is no file"):
        kits.make(service.database, service.settings, service.vault, WHO, now, pipe, PASSPHRASE, force=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_return_is_no_kit_and_a_kit_no_return(pair: Pair) -> None:
    file = pair.make()
    laptop = pair.open(file, "first")
    refused(pair, pair.packed(laptop), "is what came back of a kit, and not a kit")
    with pytest.raises(KitError, match="is a kit, and not what came back of a kit"):
        pair.merge(file)


def test_a_laptop_makes_no_kit_and_a_server_no_return(pair: Pair) -> None:
    laptop = pair.laptop()
    service = laptop.service
    with pytest.raises(KitError, match="laptop's own database"):
        kits.make(
            service.database, service.settings, service.vault, WHO, laptop.clock.now, pair.folder / "b.kit", PASSPHRASE
        )
    with pytest.raises(KitError, match="was not made by `responder kit open`"):
        kits.pack_return(pair.server.service.database, WHO, laptop.clock.now, pair.folder / "b.kit", PASSPHRASE)


def test_the_timer_keeps_so_many_of_a_folder(pair: Pair) -> None:
    folder = pair.folder / "kits"
    folder.mkdir()
    for day in range(1, 6):
        (folder / f"responder-2026010{day}T000000Z.kit").touch()
    gone = kits.thin_out(folder, 3, pair.server.clock.now)
    assert [path.name for path in gone] == ["responder-20260101T000000Z.kit", "responder-20260102T000000Z.kit"]


def test_kits_that_are_out_at_once_give_out_other_ids(pair: Pair) -> None:
    sides: list[Side] = [pair.laptop() for _ in range(3)]
    firsts = [json.loads(side.rows("SELECT base FROM kits")[0][0])["first"]["deliveries"] for side in sides]
    assert [later - earlier for earlier, later in pairwise(firsts)] == [4_000_000, 4_000_000]
    assert firsts[0] >= 20_000_000


def test_the_folder_runs_as_it_is(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.open(pair.make())
    monkeypatch.chdir(pair.folder / "laptop")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    service = wire(load_settings())
    assert (service.settings.gateways, service.settings.flows_dir) == (("twilio", "modem"), Path("flows"))
    assert [point.id for point in service.snapshot.read(pair.server.clock.now).board.points] == [
        "far", "near", "north", "south",
    ]  # fmt: skip
    service.database.close()


@pytest.mark.only_postgresql
def test_a_subscription_that_is_being_made_is_in_the_kit_or_after_it(pair: Pair) -> None:
    """Else it would look, at the merge, like one that ended on the laptop."""
    with ThreadPoolExecutor(1) as somebody:
        with pair.server.service.database.write(alone=False) as connection:
            row = {"number_hash": b"x", "number_sealed": b"x", "channel": "text", "language": "sv", "place": "12347"}
            columns = SQLModel.metadata.tables["subscriptions"]
            connection.execute(insert(columns).values(**row, state="active", created_at=1.0))
            making = somebody.submit(pair.make)
            with pytest.raises(TimeoutError):
                making.result(1.5)
        file = making.result(60)
    assert pair.open(file).rows("SELECT place FROM subscriptions") == [("12347",)]
