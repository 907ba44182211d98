"""What a fake provider keeps of an account beside its messages: its standing, its money, and where its numbers post."""

import secrets
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.fakes.records import API

Row = dict[str, object]
POST = "POST"


@dataclass
class Office:
    """One account. `balance` None: the account is not told it. A test may change whatever stands here."""

    account: str
    status: str = "active"
    kind: str = "Full"
    balance: str | None = "250.00"
    numbers: list[Row] = field(default_factory=list)
    short_codes: list[Row] = field(default_factory=list)
    services: dict[str, Row] = field(default_factory=dict)
    senders: dict[str, list[str]] = field(default_factory=dict)  # of a messaging service: its numbers

    def number(self, number: str, **fields: object) -> Row:
        """A number of the account, posting nowhere unless told otherwise; its row, which may be changed."""
        row: Row = {
            "account_sid": self.account, "sid": f"PN{secrets.token_hex(16)}", "phone_number": number, "sms_url": "",
            "sms_method": POST, "sms_fallback_url": "", "sms_fallback_method": POST, "sms_application_sid": "",
            "voice_url": "", "voice_method": POST, "voice_fallback_url": "", "voice_fallback_method": POST,
            "voice_application_sid": None, "trunk_sid": None, "status_callback": "", "status_callback_method": POST,
            "capabilities": {"voice": True, "sms": True, "mms": False}, "status": "in-use", **fields,
        }  # fmt: skip
        self.numbers.append(row)
        return row

    def short_code(self, code: str, **fields: object) -> Row:
        """A short code of the account; its row."""
        row: Row = {
            "sid": f"SC{secrets.token_hex(16)}", "short_code": code, "sms_url": "", "sms_method": POST,
            "sms_fallback_url": "", "sms_fallback_method": POST, **fields,
        }  # fmt: skip
        self.short_codes.append(row)
        return row

    def service(self, *senders: str, **fields: object) -> Row:
        """A messaging service with these numbers; its row."""
        sid = f"MG{secrets.token_hex(16)}"
        self.senders[sid] = list(senders)
        self.services[sid] = {
            "sid": sid, "account_sid": self.account, "inbound_request_url": None, "inbound_method": POST,
            "fallback_url": None, "fallback_method": POST, "status_callback": None,
            "use_inbound_webhook_on_number": False, **fields,
        }  # fmt: skip
        return self.services[sid]

    def answer(self, path: str, query: dict[str, str]) -> Row | None:
        """What the API answers to a GET, or None: not found."""
        root = f"/{API}/Accounts/{self.account}"
        if path == f"{root}.json":
            return {"sid": self.account, "status": self.status, "type": self.kind, "auth_token": "never to be shown"}
        if path == f"{root}/Balance.json" and self.balance is not None:
            return {"account_sid": self.account, "balance": self.balance, "currency": "USD"}
        if path == f"{root}/IncomingPhoneNumbers.json":  # the filter takes a part of a number, as the provider's does
            asked = query.get("PhoneNumber", "")
            return {"incoming_phone_numbers": [row for row in self.numbers if asked in str(row["phone_number"])]}
        if path == f"{root}/SMS/ShortCodes.json":
            asked = query.get("ShortCode", "")
            return {"short_codes": [row for row in self.short_codes if asked in str(row["short_code"])]}
        one = path.removeprefix(f"{root}/IncomingPhoneNumbers/").removesuffix(".json")
        return next((row for row in self.numbers if row["sid"] == one), None) or self._messaging(unquote(path))

    def _messaging(self, path: str) -> Row | None:
        sid, _, below = path.removeprefix("/v1/Services/").partition("/")
        if below == "PhoneNumbers" and sid in self.senders:
            return {"phone_numbers": [{"sid": f"PN{n}", "phone_number": n} for n in self.senders[sid]]}
        return None if below else self.services.get(sid)
