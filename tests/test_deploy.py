"""What deploy/, RUNBOOK.md and README.md name exists: commands, options, settings, units, files, chapters."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import click
import pytest
from gunicorn.config import KNOWN_SETTINGS

from responder import doctor
from responder.app import MAX_BODY
from responder.cli import main
from responder.settings import SECRETS, Settings
from responder.store.engine import HOT, POOL, Database
from responder.store.schedule import LEASE, lead
from responder.wiring import utc_now
from tests import engines
from tests.conftest import Running

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
HOME, STATE = "/opt/trygghetssvar", "/var/lib/trygghetssvar"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SETTINGS = {name.upper() for name in Settings.model_fields}
OF_GUNICORN = set(re.findall(r'environ\.get\("([A-Z_]+)"', (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")))
OTHERS = {
    "RESPONDER_TOKEN",
    "MOVE_TO",
    "KIT_PASSPHRASE",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "POSTGRES_DB",
    "SUDO_USER",
}
GUIDES = ("RUNBOOK.md", "README.md", "deploy/README.md")
SERVICES = sorted((DEPLOY / "systemd").glob("*.service"))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(text: str) -> Iterator[str]:
    """What stands in code: each line of a block, each span."""
    blocks = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for block in blocks.findall(text):
        yield from block.splitlines()
    for span in re.findall(r"`([^`]+)`", blocks.sub("", text)):
        yield " ".join(span.split())


def commands_in(text: str) -> list[list[str]]:
    """The words behind `responder` of each command; with `a|b` in it, it is two."""
    found: list[list[str]] = []
    for line in code_of(text):
        for said in re.findall(r"(?:^|\s|bin/)responder ([^#;&>]+)", line):
            words = [word.split("|") for word in _words(said.split(" | ")[0])]
            found += [list(chosen) for chosen in product(*words)]
    return found


def _words(said: str) -> list[str]:
    try:
        return shlex.split(said)
    except ValueError:  # a quotation that ends on another line
        return said.split()


def fault(words: list[str]) -> str:
    """What is wrong with a command, or ""."""
    command: click.Command = main
    words = [word for word in words if word != "..."]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.commands.get(name)
        if found is None:
            return f"there is no {name!r}"
        command = found
    known = {option for param in command.params for option in param.opts} | {"--help", "-h"}
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"{command.name} knows no {unknown[0]}" if unknown else ""


# The guides


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_in_a_guide_exists_with_its_options(guide: str) -> None:
    commands = commands_in(text_of(guide))
    assert len(commands) > 3
    faults = {" ".join(words): fault(words) for words in commands}
    assert {said: why for said, why in faults.items() if why} == {}


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    text = "Type `sudo responder broadcast halt 12`, or:\n```\nresponder points --all\nresponder broadcast stop|halt 12\n```\n"
    assert [fault(words) for words in commands_in(text)] == [
        "points knows no --all", "", "there is no 'halt'", "there is no 'halt'",
    ]  # fmt: skip


@pytest.mark.parametrize("guide", GUIDES)
def test_every_setting_in_a_guide_exists(guide: str) -> None:
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text_of(guide)))
    named |= set(re.findall(r"(?m)(?:^|`)([A-Z]+)=", text_of(guide)))
    assert len(named) > 5
    assert named - SETTINGS - OF_GUNICORN - OTHERS - {"PUBLIC_URL"} == set()


def chapters() -> dict[str, str]:
    """Heading to text of each chapter of the runbook."""
    parts = re.split(r"(?m)^## (.+)$", text_of("RUNBOOK.md"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_chapter_says_what_is_seen_what_it_means_what_to_do_and_when_it_is_well() -> None:
    for heading, text in chapters().items():
        order = [text.find(f"\n{part}") for part in ("You see:", "It means:", "Do", "Well again when:")]
        assert -1 not in order and order == sorted(order), heading


@pytest.mark.parametrize(
    "subject",
    ["First hour", "does not answer", "database is away", "disk is full", "read-only", "Restore", "provider is away",
     "wrong message", "wrong point", "Rotate a key", "lost or stolen", "flood", "spending cap", "do not lead",
     "Upgrade", "PostgreSQL", "Unknown deliveries"],
)  # fmt: skip
def test_the_runbook_has_a_chapter_on_what_may_happen(subject: str) -> None:
    assert any(subject in heading or subject in text[:60] for heading, text in chapters().items())


def test_the_runbook_says_how_many_connections_a_process_may_hold() -> None:
    assert f"may hold {HOT + 3 * POOL};" in text_of("RUNBOOK.md")


def test_chapters_that_are_named_exist() -> None:
    text = re.sub(r"\s+", " ", text_of("RUNBOOK.md"))
    named = {name.strip() for name in re.findall(r"go to \*([^*]+)\*", text)} | {doctor.AWAY, doctor.RESTORE}
    assert len(named) > 3
    assert named <= set(chapters())


def test_units_and_files_that_the_runbook_names_exist() -> None:
    text = text_of("RUNBOOK.md") + text_of("deploy/README.md")
    units = {path.name for path in (DEPLOY / "systemd").iterdir()}
    for unit in re.findall(r"\bresponder-[a-z]+(?:\.[a-z]+)?\b", text):
        assert unit in units or f"{unit}.service" in units, unit
    for name in re.findall(r"\bdeploy/[A-Za-z./-]*[A-Za-z]", text):
        assert (ROOT / name.rstrip("-")).exists() or list(ROOT.glob(f"{name}*")), name


# systemd


def unit(path: Path) -> list[tuple[str, str]]:
    """(name, value) of each line of a unit."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#["]
    return [(line.partition("=")[0], line.partition("=")[2]) for line in lines]


def values(path: Path, name: str) -> list[str]:
    return [value for key, value in unit(path) if key == name]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_unit_runs_what_exists_as_nobody_else_and_may_write_in_one_place(path: Path) -> None:
    told = dict(unit(path))
    for name, value in {
        "User": "responder", "NoNewPrivileges": "true", "ProtectSystem": "strict", "ProtectHome": "true",
        "PrivateTmp": "true", "PrivateDevices": "true", "CapabilityBoundingSet": "", "StateDirectory": STATE[9:],
        "WorkingDirectory": HOME, "UMask": "0077", "MemoryDenyWriteExecute": "true",
    }.items():  # fmt: skip
        assert told[name] == value, name
    assert re.fullmatch(r"\d+[MG]", told["MemoryMax"])
    assert not values(path, "ReadWritePaths")
    for variable in shlex.split(told.get("Environment", "")):
        assert variable.partition("=")[0] in SETTINGS | OF_GUNICORN | {"PYTHONUNBUFFERED"}
    for line in values(path, "ExecStart"):
        programs = re.findall(rf"{HOME}/\.venv/bin/(\w+)", line)
        assert programs and all(known_program(program) for program in programs)
        for words in commands_in(f"`{line}`"):
            assert fault(words) == "", line
        for flag in re.findall(r" (--[a-z-]+)", line) if "gunicorn" in line else []:
            assert any(flag in (setting.cli or ()) for setting in KNOWN_SETTINGS), flag
    for folder in re.findall(r"/var/lib/\w+", path.read_text(encoding="utf-8")):
        assert folder == STATE
    for named in re.findall(rf"file://{HOME}/(\S+)", path.read_text(encoding="utf-8")):
        assert (ROOT / named).exists()


def known_program(name: str) -> bool:
    """Whether an installed project has that program."""
    return name in PROJECT["scripts"] or any(re.match(rf"{name}\b", needed) for needed in PROJECT["dependencies"])


def test_what_serves_and_sends_is_started_again_for_ever_and_feeds_no_watchdog_that_it_does_not_know() -> None:
    for name in ("web", "jobs"):
        path = DEPLOY / "systemd" / f"responder-{name}.service"
        told = dict(unit(path))
        assert (told["Restart"], told["StartLimitIntervalSec"]) == ("always", "0")
        assert "WatchdogSec" not in told  # neither of them tells a watchdog anything
        assert told["Type"] == ("notify" if name == "web" else "exec")
    graceful = int(re.search(r"graceful_timeout = (\d+)", text_of("gunicorn.conf.py"))[1])  # type: ignore[index]
    stop = values(DEPLOY / "systemd" / "responder-web.service", "TimeoutStopSec")
    assert int(stop[0]) > graceful


def test_the_timer_starts_a_service_that_keeps_backups_no_longer_than_numbers_may_be_kept() -> None:
    told = dict(unit(DEPLOY / "systemd" / "responder-backup.service"))
    hours = int(re.search(r"--keep (\d+)$", told["ExecStart"])[1])  # type: ignore[index]
    assert hours <= 24 * Settings.model_fields["retain_days"].default
    assert ("OnCalendar", "*-*-* *:17:00") in unit(DEPLOY / "systemd" / "responder-backup.timer")
    assert told["Type"] == "oneshot"


def test_the_command_line_of_a_server_runs_as_the_services_user() -> None:
    path = DEPLOY / "responder"
    assert os.access(path, os.X_OK)
    subprocess.run(["sh", "-n", str(path)], check=True)
    text = path.read_text(encoding="utf-8")
    assert f"cd {HOME}\n" in text and "setpriv --reuid responder" in text


# Containers


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, rest) of each."""
    text = re.sub(r"\\\n\s*", " ", text_of("deploy/Dockerfile"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_copies_what_exists_installs_what_is_locked_and_runs_as_nobody() -> None:
    steps = dockerfile()
    for kind, rest in steps:
        if kind == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"\n!{source.removeprefix('./')}\n" in text_of("deploy/Dockerfile.dockerignore"), source
    installs = [rest for kind, rest in steps if kind == "RUN" and "pip install" in rest]
    assert len(installs) == 1 and "--require-hashes" in installs[0] and "requirements.lock" in installs[0]
    (user,) = [rest for kind, rest in steps if kind == "USER"]
    assert user not in ("root", "0")
    kinds = [kind for kind, _ in steps]
    assert "RUN" not in kinds[kinds.index("USER") :]
    bases = [rest for kind, rest in steps if kind == "FROM"]
    assert all(re.match(r"python:3\.1[1-9]-slim", base) for base in bases)


def test_the_image_can_back_up_and_restore_the_database_beside_it() -> None:
    """pg_dump of an older version than the server's dumps nothing."""
    installed = [rest for kind, rest in dockerfile() if kind == "RUN" and "apt-get install" in rest]
    tools = [int(found) for rest in installed for found in re.findall(r"postgresql-client-(\d+)", rest)]
    server = int(re.search(r"image: postgres:(\d+)", compose())[1])  # type: ignore[index]
    assert tools and min(tools) >= server


def test_a_restart_of_containers_takes_changed_settings_and_a_command_needs_none_running() -> None:
    """`docker compose restart` keeps the environment of before; `exec` has nothing to run in once web is stopped."""
    text = re.sub(r"\s+", " ", text_of("RUNBOOK.md"))
    assert "up -d --no-deps --force-recreate web jobs` for start and restart" in text
    assert "run --rm --no-deps web responder` for `sudo responder`" in text
    assert "restart web jobs" not in text and "exec web" not in text


def test_the_image_sets_settings_that_exist_and_no_secret() -> None:
    (environment,) = [rest for kind, rest in dockerfile() if kind == "ENV"]
    named = {pair.partition("=")[0] for pair in environment.split()}
    assert named <= SETTINGS | OF_GUNICORN | {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED"}
    assert not named & {name.upper() for name in SECRETS}


def test_the_image_has_the_command_and_asks_an_address_that_exists(service: Running) -> None:
    steps = dockerfile()
    module, function = PROJECT["scripts"]["responder"].split(":")
    assert any(f"from {module} import {function}\\n\\n{function}()" in rest for kind, rest in steps if kind == "RUN")
    (health,) = [rest for kind, rest in steps if kind == "HEALTHCHECK"]
    path = re.search(r"127\.0\.0\.1:8000(/\w+)", health)
    assert path and service.app.test_client().get(path[1]).status_code == 200
    (command,) = [json.loads(rest) for kind, rest in steps if kind == "CMD"]
    assert known_program(command[0])


def compose() -> str:
    return text_of("deploy/compose.yaml")


def test_the_services_of_compose_run_commands_and_settings_that_exist() -> None:
    for command in re.findall(r"(?m)^ +command: (\[.*\])$", compose()):
        words = json.loads(command)
        assert words[0] == "responder" and fault(words[1:]) == ""
    named = set(re.findall(r"(?m)^ +([A-Z][A-Z_]+): ", compose()))
    assert len(named) > 5
    assert named <= SETTINGS | OF_GUNICORN | OTHERS
    assert "../.env" in compose() and not named & {name.upper() for name in SECRETS}


def test_the_web_may_have_as_many_threads_as_its_workers_start() -> None:
    """Twice: while a reload goes on, the old workers are still there."""
    workers, threads = (
        int(re.search(pattern, text_of("gunicorn.conf.py"))[1])  # type: ignore[index]
        for pattern in (r'"WORKERS", "(\d+)"', r"(?m)^threads = (\d+)")
    )
    for pattern, name in (
        (r"(?m)^TasksMax=(\d+)", "deploy/systemd/responder-web.service"), (r"pids_limit: (\d+)", "deploy/compose.yaml"),
    ):  # fmt: skip
        assert int(re.search(pattern, text_of(name))[1]) >= 2 * workers * (threads + 8)  # type: ignore[index]


def test_the_services_of_compose_are_closed_in() -> None:
    assert int(re.search(r"image: postgres:(\d+)", compose())[1]) >= 15  # type: ignore[index]
    shared, services = compose().split("\nservices:\n")
    postgres = services.split("\n  init:")[0]
    for part in (shared, postgres):
        for line in ("read_only: true", "cap_drop:", "- ALL", "no-new-privileges:true", "stop_grace_period:"):
            assert line in part
    for name in ("init", "web", "jobs"):
        assert f"  {name}:\n    <<: *service\n" in services
    assert '"127.0.0.1:8000:8000"' in services  # from outside only by way of a proxy
    volumes = set(re.findall(r"(?m)^ +- (\w+):/", compose()))
    assert volumes == set(re.findall(r"(?m)^  (\w+):$", compose().split("\nvolumes:\n")[1]))


def test_the_jobs_container_is_well_while_somebody_leads(tmp_path: Path, prepared: Path) -> None:
    code = re.search(r"- \|\n((?: {10}.*\n)+)", compose())
    assert code
    engines.copy(prepared, tmp_path / "responder.db")
    url = engines.url(tmp_path / "responder.db")

    def asked() -> int:
        env = {**os.environ, "DATABASE_URL": url}
        script = re.sub(r"(?m)^ {10}", "", code[1])
        return subprocess.run([sys.executable, "-c", script], env=env, cwd=ROOT, check=False).returncode

    assert asked() == 1
    with closing(Database(url)) as database, database.write() as connection:
        lead(connection, LEASE, "somebody", utc_now().timestamp(), 60)
    assert asked() == 0


# The proxy; tests/proxy.py runs it


def test_a_proxy_takes_no_more_than_the_service_and_waits_longer_than_the_provider() -> None:
    nginx, caddy = text_of("deploy/nginx.conf"), text_of("deploy/Caddyfile")
    assert re.search(r"client_max_body_size (\d+)k;", nginx)[1] == str(MAX_BODY // 1024)  # type: ignore[index]
    assert re.search(r"max_size (\d+)KiB", caddy)[1] == str(MAX_BODY // 1024)  # type: ignore[index]
    for text, pattern in ((nginx, r"proxy_read_timeout (\d+)s"), (caddy, r"response_header_timeout (\d+)s")):
        assert int(re.search(pattern, text)[1]) > 15  # type: ignore[index]
    assert "proxy_pass http://responder;" in nginx and "rewrite " not in re.sub(r"#.*", "", nginx)
