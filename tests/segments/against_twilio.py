"""Our segment counter against Twilio's own, npm `sms-segments-calculator`, on 1,000 generated texts.

    python -m tests.segments.against_twilio        (needs node; `make segments` installs the package)

Left out, because there the calculator departs from 3GPP 23.038: it counts grapheme clusters, so that CR LF makes a text
UCS-2 (both are in GSM-7), and it drops combining marks and joined emoji behind a GSM-7 letter from the count. What we
send is NFC and has neither.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

from responder.core.segments import cost

FOLDER = Path(__file__).parent
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzåäöÅÄÖ 0123456789.,:!?", "€^{}[]\\~|", "éèüñ§¤ÇØ£¥", "áçčł", "–—…“”’`\t\u00a0",
    "😀🆘🔋🚰", "ΔΦΓΛΩ", "سلام", "\n", "\r",
]  # fmt: skip


def texts(count: int, seed: int = 2026) -> list[str]:
    """Texts of every length and mixture, many of them just at a border."""
    draw = random.Random(seed)
    out = []
    for _ in range(count):
        length = draw.choice(
            [draw.randint(0, 480), *(border + draw.randint(-2, 2) for border in (70, 134, 160, 306, 459))]
        )
        main, spice = ALPHABETS[draw.choice([0, 0, 0, 0, 2, 6])], ALPHABETS[draw.randrange(len(ALPHABETS))]
        share = draw.choice([0, 0, 0.01, 0.1, 0.5])
        out.append("".join(draw.choice(spice if draw.random() < share else main) for _ in range(length)))
    return out


def main() -> int:
    """Print the number of differences; 1 if there are any."""
    generated = texts(1000)
    command = ["node", str(FOLDER / "count.cjs")]
    done = subprocess.run(
        command, input=json.dumps(generated), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return 1
    different = 0
    for text, (encoding, segments) in zip(generated, json.loads(done.stdout), strict=True):
        ours = cost(text)
        if (ours.encoding, ours.segments) != (encoding, segments) and text:
            different += 1
            print(f"{text!r}: ours {ours.encoding} {ours.segments}, Twilio's {encoding} {segments}")
    dear = sum(cost(text).encoding == "UCS-2" for text in generated)
    print(f"{len(generated)} texts, {dear} of them UCS-2: {different} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
