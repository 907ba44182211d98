"""What comes in: texts and turns of calls as raw webhooks, and what happens between them. All of it follows from a seed.

An episode is EPISODE cases of three phones in one small world, so that conversations have something to remember; it
begins with nothing remembered. A case is found again by seed and number alone.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import parse_qs, quote_plus

from responder.core.places import Place, PlaceKind
from responder.core.points import SERVICES

EPISODE = 50  # cases
WEB = 0.05  # of the cases go through the whole WSGI application
LONG = 64 * 1024  # bytes
Form = dict[str, list[str]]

STARTS = (
    datetime(2026, 11, 24, 13, 20, tzinfo=UTC),  # a Tuesday, 14.20 in Stockholm
    datetime(2027, 3, 28, 0, 30, tzinfo=UTC),  # half an hour before the clocks go forward ...
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # ... and back
    datetime(2026, 12, 31, 22, 50, tzinfo=UTC),
    datetime(2028, 2, 28, 22, 59, 59, tzinfo=UTC),
)
COMMANDS = (
    "JA", "NEJ", "MER", "STOPP", "START", "HJÄLP", "hjalp", "?", "MENY", "INFO", "TEST", "MINA", "english", "svenska",
    "ENGLISH", "STOP", "yes", "no", "more", "help", "start", "hej", "hello", "tack", "thanks", "övning", "exercise",
    "prenumerera", "subscribe", "bevaka", "1", "2", "3", "4", "5", "9", "0", "*", "ring", "Ja!", " ja ", "stopp.",
)  # fmt: skip
GOING_ON = (
    ("{c}", "MER", "MER", "MER"), ("{c}", "JA", "MINA", "STOPP {c}", "MINA"), ("{c}", "STOPP", "JA", "START", "JA"),
    ("START {c}", "START {p}", "MINA", "STOPP"), ("{p}", "1", "MER", "2", "JA"), ("{c}", "english", "MER", "svenska"),
    ("{p}", "NEJ", "{p}", "JA"), ("STOPP", "{c}", "JA", "START {c}"), ("{c}",) * 5, ("?",) * 5,
    ("START {p}",) * 7, ("laddning", "{p}", "MER"), ("bevaka", "{c}", "mina", "STOPP {p}"),
)  # fmt: skip
WORDS = (
    "var", "är", "närmaste", "trygghetspunkt", "i", "vid", "jag", "bor", "på", "ladda", "mobilen", "vatten", "värme",
    "hjälp", "mamma", "where", "is", "the", "nearest", "open", "charge", "my", "phone", "toalett", "mat", "sova", "el",
    "sjuk", "vård", "hund", "rullstol", "gatan", "vägen", "nu", "snälla",
)  # fmt: skip
NUMBER_WORDS = (
    "noll", "ett", "en", "två", "tre", "fyra", "fem", "sex", "sju", "åtta", "nio", "tio", "sextio", "femtio", "hundra",
    "tjugo", "trettio", "oh", "five", "sixty", "hundred", "twelve",
)  # fmt: skip
INJECTIONS = (
    "</Message></Response><Dial>+46701234567</Dial>", "<Say>&lol;</Say>", "<!DOCTYPE x [<!ENTITY a SYSTEM "
    '"file:///etc/passwd">]>&a;', "]]>&amp;<!--", "'; DROP TABLE turns; --", '" OR 1=1 --', "{{7*7}}", "{% raw %}",
    "${jndi:ldap://x}", "%s%n%x%d", "{name}{0}{}", "{said}{place}{sender}", "$(reboot)", "`id`", "../../etc/passwd",
    "=HYPERLINK(1)", "\r\nSet-Cookie: a=b", "javascript:alert(1)", "&#0;&#x1F;&#xFFFE;", "<?xml version='1.1'?>",
)  # fmt: skip
ODD = (
    "\x00", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\ufffe", "\uffff", "\u202e", "\u2066", "\u2069", "\u200b",
    "\u200d", "\u00ad", "\ufeff", "\u2028", "\u2029", "\u0301", "\u0308", "\u20e3", "٣", "१", "①", "²", "Ⅷ", "𝟛", "🆘",
    "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇸🇪", "ﷺ", "ﬁ", "ẞ", "İ", "ı", "ſ", "Ω", "a\u030a", "o\u0308", "A\u0308", "\U0010ffff",
    "\ue000", "\U000e0001", "\U000e0041",
)  # fmt: skip
BAD_BYTES = (b"%FF", b"%ED%A0%80", b"%ED%BF%BF", b"%C3", b"%F4%90%80%80", b"%C0%80", b"%zz", b"%", b"%0", b"\xff\xfe")
SENDERS = (
    "anonymous", "71000", "Kommunen", "+266696687", "+7378742833", "+2562533", "+8656696", "", "+", "+999", "unknown",
    "sip:a@b", "client:x", "+46" + "7" * 40, "+4670000000a", "+46700000001;ext=5", "+46\x00700000001", "0701234567",
    "+46 70 000 00 01", "+881612345678", "+46900123456", "+12025550123", "＋４６７００００００１", "+46७००००००१", "+4670\ud800",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What happens before a case: seconds that pass, a point that changes, the database that goes or comes."""

    seconds: float = 0
    point: int = -1
    status: str = ""
    opens: float | None = None  # seconds from then
    closes: float | None = None
    confirmed: float | None = None
    away: bool | None = None


@dataclass(frozen=True)
class Case:
    """One webhook. `errors`: how the sender decoded what is no UTF-8 before it signed; `again`: a redelivery."""

    number: int
    path: str
    body: bytes
    errors: str
    web: bool
    before: tuple[Change, ...] = ()

    @cached_property
    def form(self) -> Form:
        """The fields as a provider would have signed them."""
        return parse_qs(self.body.decode("ascii", "replace"), True, errors=self.errors)


@dataclass
class Writer:
    """Writes the cases of one episode. `codes`, `names`: what people ask for."""

    draw: random.Random
    codes: Sequence[str]
    names: Sequence[str]
    _waiting: list[str] = field(default_factory=list)
    _calls: dict[str, int] = field(default_factory=dict)
    _sent: list[tuple[str, bytes, str]] = field(default_factory=list)

    def cases(self, seed: int, episode: int) -> list[Case]:
        """The cases of an episode, in order."""
        self._phones = [f"+4670{episode % 1_000_000:06d}{n}" for n in range(3)]
        self._mark = f"{seed:x}{episode:x}"
        return [self._case(episode * EPISODE + n) for n in range(EPISODE)]

    def _case(self, number: int) -> Case:
        draw = self.draw
        before = self._before()
        if self._sent and draw.random() < 0.04:
            path, body, errors = draw.choice(self._sent)
        else:
            errors = draw.choice(("surrogateescape", "replace"))
            path, body = self._text(number) if draw.random() < 0.6 else self._voice(number)
            self._sent.append((path, body, errors))
        return Case(number, path, body, errors, draw.random() < WEB, before)

    def _before(self) -> tuple[Change, ...]:
        draw, out = self.draw, [Change(seconds=self.draw.choice((0, 0, 0, 0, 0, 0.2, 0.2, 0.4, 3, 20, 90)))]
        if draw.random() < 0.03:
            out.append(Change(seconds=draw.choice((601, 1801, 3600, 90_000, 700_000, -1, -3600, -90_000, 1e-6))))
        if draw.random() < 0.06:
            hours = (None, None, -3600, -1, 1, 1800, 3600, 7200, 90_000)
            status = draw.choice(
                ("open", "open", "full", "on_call", "closed", "moved", "planned", "candidate", "rejected")
            )
            out.append(
                Change(
                    point=draw.randrange(64), status=status, opens=draw.choice(hours), closes=draw.choice(hours),
                    confirmed=draw.choice((None, 0, -60, -40_000, -50_000)),
                )
            )  # fmt: skip
        if draw.random() < 0.02:
            out.append(Change(away=draw.random() < 0.4))
        return tuple(out)

    def _text(self, number: int) -> tuple[str, bytes]:
        draw = self.draw
        fields: list[tuple[str, str | bytes]] = [
            ("MessageSid", f"SM{self._mark}x{number}"),
            ("From", self._sender(0.1)),
            ("To", "71000"),
            ("Body", self._words()),
        ]
        if draw.random() < 0.02:
            fields.append(("OptOutType", draw.choice(("STOP", "START", "HELP", "stop", "X", "\ud800"))))
        if draw.random() < 0.3:
            fields += [("AccountSid", "AC" + "0" * 32), ("NumMedia", "0"), ("FromCity", "STOCKHOLM")]
        return "/twilio/sms" + draw.choice(("", "", "", "?a=%C3%A5")), self._spoilt(fields)

    def _voice(self, number: int) -> tuple[str, bytes]:
        draw = self.draw
        if not self._calls or draw.random() < 0.15:
            self._calls[f"CA{self._mark}x{number}"] = 0
        call = draw.choice(list(self._calls))
        turn = self._calls[call]
        self._calls[call] += 1
        odd = draw.random()
        if odd < 0.05:
            turn = draw.choice((0, max(0, turn - 1), turn + 1, turn + 7, 10**9, 10**18 - 1))
        if odd > 0.98:
            call = draw.choice(("CAunknown", "CA/1", "x", "CA" + "å" * 20, "CA\x00", "C" * 64, "CA\ud800"))
        fields: list[tuple[str, str | bytes]] = [
            ("CallSid", call), ("From", self._sender(0.15)), ("To", "+46770000000"),
        ]  # fmt: skip
        if draw.random() < 0.01:
            return "/twilio/voice/status", self._spoilt([*fields, ("CallStatus", "completed")])
        if turn:
            fields += self._said()
        return f"/twilio/voice/{turn}" if turn else "/twilio/voice", self._spoilt(fields)

    def _said(self) -> list[tuple[str, str | bytes]]:
        draw, kind = self.draw, self.draw.random()
        if kind < 0.15:
            return [("Digits", "")] if kind < 0.1 else []
        if kind < 0.55:
            digits = draw.choice(
                (
                    draw.choice(self.codes), draw.choice("0123456789"), "1", "2", "3", "4", "5", "9", "*", "#", "12347#",
                    "".join(draw.choices("0123456789*#", k=draw.randint(0, 12))), "0" * draw.randint(6, 3000), "१२३४७",
                )
            )  # fmt: skip
            return [("Digits", digits), ("FinishedOnKey", draw.choice(("", "*", "#", "x")))]
        sure = draw.choice(("0.9", "0.2", "", "nan", "inf", "-1", "1e999", "x", "0,5", "\x00", "9" * 5000, "0x1"))
        return [("SpeechResult", self._words()), ("Confidence", sure)]

    def _sender(self, odd: float) -> str:
        return self.draw.choice(SENDERS if self.draw.random() < odd else self._phones)

    def _spoilt(self, fields: list[tuple[str, str | bytes]]) -> bytes:
        """The fields as a form; seldom one is missing, sent twice or in another place."""
        draw = self.draw
        if draw.random() < 0.02:
            fields.pop(draw.randrange(len(fields)))
        if fields and draw.random() < 0.02:
            name, _ = draw.choice(fields)
            fields.insert(draw.randrange(len(fields) + 1), (name, self._words()))
        if draw.random() < 0.1:
            draw.shuffle(fields)
        return b"&".join(name.encode() + b"=" + self._encoded(value) for name, value in fields)

    def _encoded(self, value: str | bytes) -> bytes:
        if isinstance(value, bytes):
            return value
        draw, data = self.draw, value.encode("utf-8", "surrogatepass")
        if draw.random() < 0.03:
            return "".join(f"%{byte:02x}" for byte in data).encode()
        sent = quote_plus(data).encode()
        if draw.random() < 0.01:
            at = draw.randrange(len(sent) + 1)
            sent = sent[:at] + draw.choice(BAD_BYTES) + sent[at:]
        return sent

    def _words(self) -> str:
        """What somebody writes or says."""
        if self._waiting and self.draw.random() < 0.8:
            return self._waiting.pop(0)
        draw = self.draw
        kinds: tuple[tuple[Callable[[], str], int], ...] = (
            (self._code, 22), (self._name, 20), (lambda: draw.choice(COMMANDS), 14), (self._go_on, 10),
            (self._sentence, 12), (self._odd, 10), (lambda: draw.choice(INJECTIONS), 4), (self._planes, 3),
            (self._number_words, 2), (lambda: f"{draw.choice(COMMANDS)} {draw.choice((self._code, self._name))()}", 5),
            (self._mixed, 2),
        )  # fmt: skip
        text = draw.choices([make for make, _ in kinds], [weight for _, weight in kinds])[0]()
        return self._long(text) if draw.random() < 0.002 else text

    def _code(self) -> str:
        draw, code = self.draw, self.draw.choice(self.codes)
        if draw.random() < 0.1:
            code = f"{draw.randrange(100_000):05d}"
        return draw.choice(
            (
                code, code, f"{code[:3]} {code[3:]}", f"{code[:3]}-{code[3:]}", " ".join(code), f" {code}.", f"S-{code}",
                "".join(chr(0x0660 + int(c)) for c in code), "".join(chr(0xFF10 + int(c)) for c in code),
                "".join(chr(0x245F + int(c)) if c != "0" else "⓪" for c in code), f"{code} {draw.choice(self.codes)}",
                f"\u200b{code}\u00a0", f"{code}{code}", f"{code[:3]}\u00a0{code[3:]} Stockholm",
                "".join(chr(0x1D7CE + int(c)) for c in code),
            )
        )  # fmt: skip

    def _name(self) -> str:
        draw, name = self.draw, list(self.draw.choice(self.names))
        for _ in range(draw.choice((0, 0, 1, 1, 2, 3))):
            at = draw.randrange(len(name))
            draw.choice(
                (
                    lambda at=at: name.insert(at, draw.choice("abdefghknorstuåäöz ")),
                    lambda at=at: name.__setitem__(at, draw.choice("abdefghknorstuåäöz")),
                    lambda at=at: name.pop(at) if len(name) > 1 else None,
                    lambda at=at: name.insert(at, name[at]),
                )
            )()
        text = "".join(name)
        return draw.choice((text, text, text.upper(), text.lower(), f"i {text}", f"{text}?", f"{text} laddning"))

    def _sentence(self) -> str:
        draw = self.draw
        words = draw.choices(WORDS, k=draw.randint(1, 25))
        if draw.random() < 0.6:
            words.insert(draw.randrange(len(words) + 1), draw.choice((self._name, self._code))())
        return " ".join(words)

    def _odd(self) -> str:
        draw = self.draw
        text = draw.choice((self._code, self._name, lambda: "", lambda: draw.choice(COMMANDS)))()
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice(ODD) * draw.choice((1, 1, 1, 3, 40)) + text[at:]
        return text

    def _planes(self) -> str:
        draw = self.draw
        plane = draw.randrange(17) << 16
        return "".join(chr(plane + draw.randrange(0x10000)) for _ in range(draw.randint(1, 60)))

    def _number_words(self) -> str:
        draw = self.draw
        return draw.choice(("", " ", "-")).join(draw.choices(NUMBER_WORDS, k=draw.randint(1, 40))) + draw.choice("x  ")

    def _mixed(self) -> str:
        return " ".join(self.draw.choice((self._code, self._name, self._odd, self._planes))() for _ in range(6))

    def _go_on(self) -> str:
        """The first of a conversation; the rest comes next."""
        code, name = self.draw.choice(self.codes), self.draw.choice(self.names)
        first, *rest = (part.format(c=code, p=name) for part in self.draw.choice(GOING_ON))
        self._waiting = rest
        return first

    def _long(self, text: str) -> str:
        unit = self.draw.choice((text, "a", "\u0301", "å ", "sextio", "12347 ", "<", "&", self._sentence() + " "))
        return (unit or "x") * (LONG // max(1, len((unit or "x").encode("utf-8", "surrogatepass"))))


def writer(seed: int, episode: int, places: Sequence[Place]) -> Writer:
    """Writes the cases of `episode`; people ask for few places, so that they meet the same points."""
    draw = random.Random(f"{seed}:{episode}")
    codes = [place.code for place in draw.sample([p for p in places if p.kind is PlaceKind.POSTCODE], 8)]
    names = [place.name for place in draw.sample([p for p in places if p.kind is not PlaceKind.POSTCODE], 12)]
    return Writer(draw, codes, names)


def services(draw: random.Random) -> tuple[str, ...]:
    """Some services of a point."""
    return tuple(draw.sample(SERVICES, draw.randint(0, 9)))
