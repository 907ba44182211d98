"""What lies in a kit, or in what comes back of one: a sealed tar, `manifest.json` first.

A kit holds `responder.db`, `env`, `lists/` and `flows/`; a return only the database.
"""

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from responder.store.backup import sync
from responder.store.kits import KitError
from responder.store.sealedfile import PIECE, SealedReader, SealedWriter, SealError

KIT, RETURN = "kit", "return"
DATABASE, ENV, MANIFEST = "responder.db", "env", "manifest.json"
FOLDERS = ("lists", "flows")
_KINDS = {KIT: "a kit", RETURN: "what came back of a kit"}

Part = tuple[str, Path | bytes]


@contextmanager
def private_folder(what: str) -> Iterator[Path]:
    """A folder of ours alone for what is not sealed, on a disk of this computer. What killed ones left goes first."""
    for old in Path(tempfile.gettempdir()).glob(f"responder-{what}-*-*"):
        with suppress(OSError, ValueError):
            if old.stat().st_uid == os.getuid() and not _is_alive(int(old.name.split("-")[2])):
                shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"responder-{what}-{os.getpid()}-") as name:
        yield Path(name)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def pack(to: Path, passphrase: str, kind: str, manifest: Mapping[str, Any], parts: Iterable[Part]) -> None:
    """Write the sealed file `to`, which is there and empty."""
    with to.open("wb") as file:
        writer = SealedWriter(file, passphrase, kind)
        with tarfile.open(fileobj=writer, mode="w|", bufsize=PIECE) as tar:
            said = json.dumps(manifest, ensure_ascii=False).encode()
            for name, part in ((MANIFEST, said), *parts):
                _add(tar, name, part)
        writer.finish()


def read_manifest(file: Path, passphrase: str) -> dict[str, Any]:
    """What the sealed file says of itself, once all of it is known to be whole; nothing is written to the disk.

    Raises SealError or OSError.
    """
    with file.open("rb") as opened, _members(opened, passphrase, file) as (reader, members):
        _, _, manifest = next(members)
        for _ in members:
            pass
        reader.read_to_the_end()
    return _manifest(manifest, reader.kind, file)


def unpack(file: Path, passphrase: str, kind: str, folder: Path) -> dict[str, Any]:
    """Write what lies in the sealed file into `folder`, synced and its owner's alone; its manifest.

    Raises KitError if it is of another kind, SealError or OSError: what is in `folder` is of no use then.
    """
    with file.open("rb") as opened, _members(opened, passphrase, file) as (reader, members):
        if reader.kind != kind:
            raise KitError(f"{file} is {_KINDS.get(reader.kind, 'something else')}, and not {_KINDS[kind]}")
        _, _, manifest = next(members)
        for name, content, _ in members:
            _write(folder, name, content, file)
        reader.read_to_the_end()
    sync(folder)
    return _manifest(manifest, kind, file)


def _manifest(said: bytes, kind: str, file: Path) -> dict[str, Any]:
    try:
        return {"kind": kind, **json.loads(said)}
    except ValueError as error:
        raise SealError(f"{file} is damaged: nothing says what it is") from error


def _add(tar: tarfile.TarFile, name: str, part: Path | bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    if isinstance(part, bytes):
        info.size = len(part)
        tar.addfile(info, BytesIO(part))
        return
    info.size = part.stat().st_size
    with part.open("rb") as opened:
        tar.addfile(info, opened)


@contextmanager
def _members(
    opened: BinaryIO, passphrase: str, file: Path
) -> Iterator[tuple[SealedReader, Iterator[tuple[str, BinaryIO, bytes]]]]:
    """The reader, and (name, content, the manifest's content) of each part; the first is the manifest."""
    reader = SealedReader(opened, passphrase, str(file))
    try:
        with tarfile.open(fileobj=reader, mode="r|", bufsize=PIECE) as tar:
            yield reader, _each(tar, file)
    except tarfile.TarError as error:
        raise SealError(f"{file} is damaged: {error}") from error


def _each(tar: tarfile.TarFile, file: Path) -> Iterator[tuple[str, Any, bytes]]:
    first = True
    for info in tar:
        content = tar.extractfile(info) if info.isreg() else None
        if content is None or first is not (info.name == MANIFEST):
            raise SealError(f"{file} is damaged: {info.name!r} does not belong there")
        yield info.name, content, content.read() if first else b""
        first = False
    if first:
        raise SealError(f"{file} is damaged: it is empty")


def _write(folder: Path, name: str, content: BinaryIO, file: Path) -> None:
    parts = PurePosixPath(name).parts
    if name not in (DATABASE, ENV) and not (len(parts) > 1 and parts[0] in FOLDERS and ".." not in parts):
        raise SealError(f"{file} is damaged: {name!r} does not belong there")
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(number, "wb") as to:
        while piece := content.read(PIECE):
            to.write(piece)
        to.flush()
        os.fsync(to.fileno())
