"""What may come back, and when it is refused: an older return, a copy of the folder, another key, a damaged memory."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from sqlalchemy import Engine

from responder.actions import kit as kits
from responder.actions.housekeep import rekey
from responder.core.points import Status
from responder.settings import Settings
from responder.store import merge as merging
from responder.store import migrations
from responder.store.backup import SQLITE
from responder.store.kits import KitError
from responder.store.merge import Merged, Terms
from responder.store.vault import Vault
from tests.kit.test_merge import counts, follow
from tests.kit.world import ANNA, BO, PASSPHRASE, WHO, ZONE, Pair, Side


def test_an_older_return_takes_back_neither_a_stopp_nor_a_closed_door_nor_a_ja(pair: Pair) -> None:
    laptop = pair.laptop()
    older = pair.packed(laptop, "older.kit")
    laptop.text(ANNA, "STOPP")
    laptop.set("near", Status.CLOSED)
    follow(laptop, BO)
    pair.merge(laptop)
    before = counts(pair.server)
    with pytest.raises(KitError, match=r"older\.kit is older than what has been merged"):
        pair.merge(older)
    assert counts(pair.server) == before
    assert pair.server.said_stop(ANNA) and pair.server.follows(BO) == [("12347", "active")]
    assert pair.server.point("near").status is Status.CLOSED


def test_an_older_return_is_known_by_its_place_in_the_line_though_nothing_but_a_stopp_came_after(pair: Pair) -> None:
    laptop = pair.laptop()
    older = pair.packed(laptop, "older.kit")
    laptop.text(ANNA, "STOPP")
    pair.merge(laptop)
    with pytest.raises(KitError, match="is older than"):
        pair.merge(older)
    assert pair.server.said_stop(ANNA)


def test_an_older_copy_of_the_laptops_database_itself_is_refused_too(pair: Pair) -> None:
    laptop = pair.laptop()
    file, older = pair.folder / "laptop-0" / "responder.db", pair.folder / "older.db"
    laptop.close()
    shutil.copy(file, older)
    laptop.text(ANNA, "STOPP")
    pair.server.clock.now = laptop.clock.now
    pair.merge(file)
    with pytest.raises(KitError, match="is older than"):
        pair.merge(older)
    assert pair.server.said_stop(ANNA) and pair.merge(file).nothing


def test_of_two_copies_of_one_opened_folder_one_comes_back(pair: Pair) -> None:
    laptop = pair.laptop()
    laptop.close()
    shutil.copytree(pair.folder / "laptop-0", pair.folder / "copy")
    copy = Side(f"sqlite:///{pair.folder / 'copy' / 'responder.db'}", laptop.clock)
    pair.laptops.append(copy)
    follow(laptop, ANNA)
    follow(copy, BO)
    pair.merge(laptop)
    with pytest.raises(KitError, match="opened on two laptops"):
        pair.merge(copy)
    assert pair.server.follows(ANNA) == [("12347", "active")]


def test_kits_that_are_made_at_the_same_time_do_not_give_out_the_same_ids(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = kits.write_copy
    inner: list[Path] = []

    def meanwhile(*words: Any) -> Any:
        if not inner:
            inner.append(pair.folder / "inner.kit")
            pair.make("inner.kit")
        return real(*words)

    monkeypatch.setattr(kits, "write_copy", meanwhile)
    with pytest.raises(KitError, match="another kit was made at the same time"):
        pair.make("outer.kit")
    assert not (pair.folder / "outer.kit").exists()
    one, other = pair.open(inner[0], "one"), pair.open(pair.make("outer.kit"), "other")
    follow(one, ANNA)
    follow(other, BO)
    pair.merge(one)
    pair.merge(other)
    assert pair.server.follows(ANNA) and pair.server.follows(BO)


def test_ids_that_another_laptop_gave_out_are_refused_in_words(pair: Pair) -> None:
    laptop = pair.laptop()
    follow(laptop, ANNA)
    [(id,)] = laptop.rows("SELECT max(id) FROM subscriptions")
    pair.server.add(
        "subscriptions", id=id, number_hash=b"another", number_sealed=b"", channel="text", language="sv", place="12347",
        state="active", created_at=1.0,
    )  # fmt: skip
    with pytest.raises(KitError, match=f"subscription {id} is another one here"):
        pair.merge(laptop)


@pytest.mark.parametrize("base", ["{}", "nonsense", "[]", '{"keys": 5}'])
def test_a_memory_of_the_kit_that_cannot_be_read_is_refused_in_words(pair: Pair, base: str) -> None:
    laptop = pair.laptop()
    laptop.do("UPDATE kits SET base = :base", base=base)
    before = counts(pair.server)
    with pytest.raises(KitError, match="is damaged: (what )?the kit"):
        pair.merge(pair.folder / "laptop-0" / "responder.db")
    assert counts(pair.server) == before


def test_nothing_is_merged_while_numbers_are_kept_under_other_keys(pair: Pair) -> None:
    """Else a STOPP of the laptop does not find what the number follows here."""
    follow(pair.server, ANNA)
    laptop = pair.laptop()
    laptop.text(ANNA, "STOPP")
    settings, now = pair.server.service.settings, pair.server.clock.now
    more = (settings.number_key, settings.lookup_key)
    rekey(pair.server.service.database, Vault(("n" * 40, more[0]), ("l" * 40, more[1])), now)
    with pytest.raises(KitError, match="under other keys here"):
        pair.merge(laptop)
    rekey(pair.server.service.database, Vault((more[0], "n" * 40), (more[1], "l" * 40)), now)
    pair.merge(laptop)
    assert pair.server.said_stop(ANNA) and pair.server.follows(ANNA) == []


def test_a_merge_after_the_keys_were_changed_says_what_to_do(pair: Pair) -> None:
    file = pair.packed(pair.laptop())
    service = pair.server.service
    fingerprint = Vault(("n" * 40,), ("l" * 40,)).fingerprint
    terms = Terms(WHO, pair.server.clock.now, fingerprint, lambda sealed: "", ZONE, 1.0)

    def merged() -> Merged:
        return merging.merge(service.database, file, lambda: PASSPHRASE, terms, True)

    with pytest.raises(KitError, match="put those of then first"):
        merged()


def test_what_is_not_sealed_yet_is_never_where_the_kit_goes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    stick, service = pair.folder / "stick", pair.server.service
    stick.mkdir()
    real, seen = kits.pack, []

    def packing(*words: Any) -> None:
        seen.append([path for path in stick.iterdir() if path.read_bytes().startswith(SQLITE)])
        real(*words)

    monkeypatch.setattr(kits, "pack", packing)
    kits.make(
        service.database, service.settings, service.vault, WHO, pair.server.clock.now, stick / "a.kit", PASSPHRASE
    )
    laptop = pair.open(stick / "a.kit")
    kits.pack_return(laptop.service.database, WHO, laptop.clock.now, stick / "b.kit", PASSPHRASE)
    assert seen == [[], []]


def test_what_a_killed_merge_left_unsealed_is_gone_with_the_next(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pair.folder / "tmp"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    dead, ours, odd = (folder / f"responder-merge-{name}" for name in (f"{2**31 - 1}-x", f"{os.getpid()}-x", "odd-x"))
    for left in (dead, ours, odd):
        left.mkdir(parents=True)
        (left / "responder.db").touch()
    pair.merge(pair.laptop())
    assert sorted(folder.iterdir()) == sorted((ours, odd))


def test_a_setting_that_no_env_file_can_hold_is_refused_by_name(pair: Pair) -> None:
    """A key that the laptop read as another one would open nothing and find nobody."""
    plain = Settings(_env_file=None, lookup_key="l$HOME" + "l" * 32)  # type: ignore[call-arg]
    path = pair.folder / "env"
    path.write_text(kits.env_of(plain))
    assert Settings(_env_file=path).lookup_key == plain.lookup_key  # type: ignore[call-arg]
    with pytest.raises(KitError, match="LOOKUP_KEY holds") as refused:
        kits.env_of(Settings(_env_file=None, lookup_key="l${HOME}" + "l" * 32))  # type: ignore[call-arg]
    assert "lllll" not in str(refused.value)


def test_a_kit_that_this_database_does_not_know_ends_only_what_somebody_ended_there(pair: Pair) -> None:
    """It may be of another server, or of one that was restored: who is not in it never said that they wanted to go."""
    follow(pair.server, ANNA, BO)
    laptop = pair.laptop()
    pair.server.do("DELETE FROM kits")
    laptop.do("DELETE FROM subscriptions WHERE number_hash = :hash", hash=laptop.hash(BO))
    laptop.text(ANNA, "STOPP 12347")
    done = pair.merge(laptop)
    assert not done.is_known and done.taken["subscriptions ended there"] == 1
    assert pair.server.follows(ANNA) == [] and pair.server.follows(BO) == [("12347", "active")]


def test_two_merges_of_one_return_at_the_same_time_bring_it_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real, one_at_a_time = (
        migrations.upgrade,
        Lock(),
    )  # in one process Alembic bears no two; in two there is no such wait

    def upgraded(engine: Engine) -> None:
        with one_at_a_time:
            real(engine)

    monkeypatch.setattr(migrations, "upgrade", upgraded)
    laptop = pair.laptop()
    laptop.set("near", Status.CLOSED)
    follow(laptop, ANNA)
    file = pair.packed(laptop)
    pair.server.clock.now = laptop.clock.now
    with ThreadPoolExecutor(2) as both:
        done = [one.result() for one in [both.submit(pair.merge, file) for _ in range(2)]]
    assert sorted(one.nothing for one in done) == [False, True]
    assert pair.server.follows(ANNA) == [("12347", "active")]
    lines = pair.server.rows("SELECT action FROM audit WHERE subject = 'near' ORDER BY id")
    assert lines == [("set closed",), ("merge",)]


def test_each_return_has_its_word(pair: Pair) -> None:
    laptop = pair.laptop()
    pair.merge(laptop)
    pair.packed(laptop)
    words = json.loads(laptop.rows("SELECT base FROM kits")[0][0])["returns"]
    assert len(words) == len(set(words)) == 2
    assert pair.merge(laptop).nothing
