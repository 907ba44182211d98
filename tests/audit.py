"""Whether a package of requirements.lock is known to be unsafe. pip-audit says "none found" also of packages that it
could not ask about, and ends with 0; here each of them counts.

python -m tests.audit [--allow-offline]: 0 none is, 1 some are, 2 it could not be asked about all.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
COMMAND = (
    sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--disable-pip", "--require-hashes", "-f", "json",
    "-r", str(LOCK),
)  # fmt: skip


def judge(answer: str, error: str) -> tuple[int, list[str]]:
    """The exit code, and lines to print, from what pip-audit wrote."""
    try:
        rows: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        last = next((line for line in reversed(error.splitlines()) if line.strip()), "no reason given")
        return 2, [f"audit: nothing could be asked: {last}"]
    unsafe = [
        f"audit: {row['name']} {row['version']}: {one['id']}, repaired in {', '.join(one['fix_versions']) or 'no version'}"
        for row in rows
        for one in row.get("vulns", ())
    ]
    unasked = [row for row in rows if "skip_reason" in row]
    missed = [f"audit: {len(unasked)} of {len(rows)} packages could not be asked about; the first: "] if unasked else []
    missed = [line + unasked[0]["skip_reason"] for line in missed]
    if not rows:
        return 2, ["audit: there is nothing to ask about"]
    if unsafe:
        return 1, unsafe + missed
    return (2, missed) if unasked else (0, [f"audit: {len(rows)} packages, none known to be unsafe"])


def main(words: Iterable[str]) -> int:
    """The exit code."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    code, lines = judge(done.stdout, done.stderr)
    print("\n".join(lines))
    if code == 2 and "--allow-offline" in words:
        print("audit: NOT DONE, and allowed not to be (--allow-offline)")
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
