"""An audit that could not ask is no clean bill of health."""

import json

from tests.audit import judge

WELL = {"name": "flask", "version": "3.1.2", "vulns": []}
ILL = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]}
UNASKED = {"name": "hidden", "skip_reason": "Dependency not found"}


def judged(*rows: object) -> tuple[int, str]:
    code, lines = judge(json.dumps({"dependencies": rows, "fixes": []}), "")
    return code, "\n".join(lines)


def test_none_unsafe_of_all_that_were_asked_about() -> None:
    assert judged(WELL, WELL) == (0, "audit: 2 packages, none known to be unsafe")


def test_an_unsafe_package_is_named_with_what_repairs_it_whatever_else_could_not_be_asked() -> None:
    code, said = judged(WELL, ILL, UNASKED)
    assert code == 1
    assert "old 1.0: PYSEC-1, repaired in 1.1, 2.0" in said
    assert "1 of 3 packages could not be asked about" in said


def test_a_package_that_could_not_be_asked_about_is_no_clean_one() -> None:
    assert judged(WELL, UNASKED) == (
        2,
        "audit: 1 of 2 packages could not be asked about; the first: Dependency not found",
    )
    assert judged() == (2, "audit: there is nothing to ask about")


def test_a_failure_is_told_in_its_own_words() -> None:
    code, lines = judge("", "Traceback ...\nConnectionError: Failed to resolve 'pypi.org'\n\n")
    assert (code, lines) == (2, ["audit: nothing could be asked: ConnectionError: Failed to resolve 'pypi.org'"])
