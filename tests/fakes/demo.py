"""`make demo`: the demo with a double of the provider behind it, which prints what its phones receive.

python -m tests.fakes.demo [options of `responder demo`]
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from responder.demo import LANDLINE
from tests.fakes.twilio import ACCOUNT, Answers, FakeTwilio

TOKEN = "the-token-of-the-demo"
COMMAND = [sys.executable, "-u", "-c", "from responder.cli import main; main()", "demo"]


def show(line: str) -> None:
    """What happens at a phone, set off from the transcript."""
    print("\n".join(f"    {part}" for part in line.splitlines()), flush=True)


def main() -> int:
    """The exit code of the demo."""
    with FakeTwilio(ACCOUNT, TOKEN, on_event=show) as fake:
        fake.phone(LANDLINE).behaves = [Answers("1"), Answers()]  # agrees to be called, then listens
        provider = {
            "GATEWAY": "recorder",
            "TWILIO_API_URL": fake.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_FROM": "+46770000000",
        }
        here = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        with subprocess.Popen([*COMMAND, *sys.argv[1:]], env={**os.environ, **here, **provider}) as demo:
            with suppress(KeyboardInterrupt):  # Ctrl-C is the demo's too, which ends by itself
                demo.wait()
            return demo.wait()


if __name__ == "__main__":
    sys.exit(main())
