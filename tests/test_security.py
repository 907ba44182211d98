"""SECURITY.md is held to its tests, and to what the code alone can show."""

import ast
import re
import stat
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from argon2.low_level import Type

from responder.actions.signin import HASHER
from tests.conftest import Running, prepare, run

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = sorted((ROOT / "responder").rglob("*.py"))
_ID = re.compile(r"\d{1,2}\.\d{1,2}\.\d{1,2}")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of SECURITY.md, without its head."""
    section = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests in a file, in classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def named() -> list[tuple[str, str]]:
    """(file, test) of every test that SECURITY.md names."""
    return _TEST.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))


def test_every_test_that_is_named_is_there() -> None:
    missing = [(f, name) for f, name in named() if not (ROOT / f).is_file() or name not in names_in(ROOT / f)]
    assert missing == []
    assert len(named()) >= 25


def test_every_requirement_that_is_met_has_an_id_a_level_a_line_and_a_test() -> None:
    met = rows("Met")
    assert len(met) >= 25
    for id, level, asked, how, shown in met:
        assert _ID.fullmatch(id) and level in ("1", "2", "3") and asked and how, id
        assert _TEST.search(shown), id


def test_every_requirement_that_is_not_met_says_why() -> None:
    for id, level, asked, why in rows("Not met"):
        assert _ID.fullmatch(id) and level in ("1", "2", "3") and asked and len(why) > 20, id


def test_no_requirement_stands_twice() -> None:
    ids = [row[0] for heading in ("Met", "Not met") for row in rows(heading)]
    assert [id for id, count in Counter(ids).items() if count > 1] == []
    for heading in ("Met", "Not met"):
        numbers = [tuple(map(int, row[0].split("."))) for row in rows(heading)]
        assert numbers == sorted(numbers)


# --- what the code alone shows -------------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    """(file, name, call) of every call in the package."""
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func), node


def imports() -> Iterator[tuple[Path, str]]:
    """(file, module) of every import in the package."""
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def test_nothing_is_evaluated_unpickled_or_given_to_a_shell() -> None:
    never = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "render_template_string", "yaml.load"}
    assert [(path.name, name) for path, name, _ in calls() if name in never] == []
    modules = {"pickle", "marshal", "shelve", "dill", "joblib"}
    assert [(path.name, name) for path, name in imports() if name.partition(".")[0] in modules] == []
    shells = [path.name for path, _, call in calls() for word in call.keywords if word.arg == "shell"]
    assert shells == []


def test_no_document_of_anybody_else_is_read_as_xml() -> None:
    """The phones of the demo and the tests read the documents of this very service."""
    readers = ("xml.etree", "xml.dom", "xml.sax.expat", "xml.sax.make_parser", "xml.parsers", "lxml", "defusedxml")
    found = {str(path.relative_to(ROOT)) for path, name in imports() if name.startswith(readers)}
    assert found == {"responder/web/handset.py", "responder/web/simulator/__init__.py"}


# Names and words of our own that are put into a statement; none of them comes from a request. (What restores a backup
# trusts the backup: it runs it.)
OURS = {
    ("accounts.py", "changes"), ("backup.py", "name"), ("engine.py", "pragma"), ("merge_people.py", "column"),
    ("merge_people.py", "name"), ("merge_people.py", "sealed"), ("outbox.py", "_claimed(connection)"),
    ("outbox.py", "lane.suits"), ("outbox.py", "lane.takes"), ("pushes.py", "by"), ("schedule.py", "name"),
    ("smsd.py", "old"), ("smsd.py", "table"), ("smsd.py", "window"), ("modem_box.py", "ahead"),
    ("modem_house.py", "now"), ("modem_house.py", "old"), ("modem_house.py", "ours"), ("modem_house.py", "seconds"),
    ("modem_house.py", "which"),
    ("outbox.py", "states"), ("outbox.py", "left"), ("postgres_restore.py", "_as_old(server, name)"),
    ("postgres_restore.py", "table"), ("postgres_restore.py", "table[1]"), ("pushes.py", "name"),
    ("pushes.py", "columns"), ("pushes.py", "table"), ("pushes.py", "way"), ("outbox.py", "held"),
    ("outbox.py", "_held(connection)"), ("queries.py", "', '.join(names)"), ("queries.py", "', :'.join(names)"),
    ("sequences.py", "name"), ("sequences.py", "sequence"),
}  # fmt: skip
# Constants of a module, and names that are quoted as names are.
_SAFE = re.compile(r"_?[A-Z_]+( \* \d+)?|_quoted\(\w+\)")


def test_every_statement_is_made_of_our_own_text() -> None:
    """Values are bound; what is put into the text of a statement is a constant of a module, or stands in OURS."""
    put_in = set()
    for path, name, call in calls():
        if path.parent.name == "console" or name.rpartition(".")[2] not in (
            "text",
            "Prepared",
            "exec_driver_sql",
            "execute",
        ):
            continue
        for node in ast.walk(call):
            if isinstance(node, ast.FormattedValue) and not _SAFE.fullmatch(ast.unparse(node.value)):
                put_in.add((path.name, ast.unparse(node.value)))
    assert put_in <= OURS, put_in - OURS


def test_passwords_are_hashed_as_slowly_as_is_asked_today() -> None:
    """OWASP asks of argon2id for 19 MiB and two rounds at least."""
    assert HASHER.type is Type.ID
    assert HASHER.memory_cost >= 19 * 1024 and HASHER.time_cost >= 2 and HASHER.salt_len >= 16


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_dependency_is_pinned_by_its_hash(lock: str) -> None:
    packages = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text(encoding="utf-8"))
    packages = [package for package in packages if re.match(r"[A-Za-z0-9]", package)]
    assert len(packages) > 20
    for package in packages:
        assert re.match(r"[\w.\-\[\]]+==\S+", package) and "--hash=sha256:" in package, package.splitlines()[0]


@pytest.mark.only_sqlite  # a server keeps its own files
def test_a_database_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    running = run(prepare(tmp_path / "made.db"))
    running.phone.text("12347")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("made.db*")}
    running.database.close()
    assert {"made.db", "made.db-wal"} <= set(modes) and set(modes.values()) == {0o600}


def test_nothing_is_served_while_it_is_debugged_and_no_request_is_echoed(service: Running) -> None:
    assert not service.app.debug and not service.app.testing
    client = service.app.test_client()
    for path in ("/", "/console/", "/healthz", "/twilio/sms"):
        assert client.open(path, method="TRACE").status_code in (404, 405)
