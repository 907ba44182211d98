"""Settings, frozen, from the environment or `.env`. `.env.example` explains each; a test holds the two together."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_SECRET = "change-me"  # noqa: S105 - the value production refuses
SECRETS = ("secret_key", "number_key", "lookup_key", "twilio_account_sid", "twilio_auth_token")
MOST_KEYS = 4  # that a number is looked up by
_E164_OR_SID = re.compile(r"\+\d{6,15}|\d{3,6}|[A-Za-z0-9 ]{1,11}")


_KEYS = ("number_key", "lookup_key")
_LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])([:/]|$)")


class SettingsError(ValueError):
    """Settings that a real service must not start with: the message names each."""


class Settings(BaseSettings):
    """Every setting of the service. Times in hours, days or an IANA zone, as named."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    database_url: str = "sqlite:///var/responder.db"
    public_url: str = "http://127.0.0.1:8000"
    secret_key: str = DEFAULT_SECRET
    number_key: str = DEFAULT_SECRET
    lookup_key: str = DEFAULT_SECRET
    twilio_account_sid: str = ""
    twilio_auth_token: str = DEFAULT_SECRET
    twilio_from: str = ""
    twilio_messaging_service_sid: str = ""
    twilio_call_from: str = ""
    twilio_api_url: str = ""
    flows_dir: Path = Path(__file__).resolve().parent.parent / "flows"
    gateway: str = Field(default="recorder", pattern="^(recorder|twilio|46elks|modem)(,(twilio|46elks|modem))*$")
    sender_name: str = "Stockholms stad"
    helpline_number: str = "113 13"
    stale_after: float = Field(default=12, gt=0)
    retain_days: int = Field(default=7, gt=0)
    timezone: str = "Europe/Stockholm"
    send_rate: float = Field(default=10, gt=0)
    call_rate: float = Field(default=1, gt=0)
    send_concurrency: int = Field(default=64, gt=0)
    api_timeout: float = Field(default=10, gt=0)
    push_settle_seconds: float = Field(default=60, ge=0)
    reconcile_seconds: float = Field(default=60, gt=0)
    approve_above: int = Field(default=1000, ge=0)
    follow_up_hours: float = Field(default=3, ge=0)
    reply_countries: str = "*"
    subscribe_countries: str = "SE,NO,DK,FI,IS,AX,EE,LV,LT,PL,DE,NL,BE,FR,GB,IE,ES,IT,AT,CH,CZ,RO,BG,HR,GR,UA"
    price_segment: float = Field(default=0.6, ge=0)
    price_call: float = Field(default=1.2, ge=0)
    currency: str = "SEK"
    spend_per_day: float = Field(default=50000, gt=0)
    number_per_day: int = Field(default=100, gt=0)
    prefix_per_hour: int = Field(default=3000, gt=0)
    number_per_minute: int = Field(default=20, gt=0)
    session_idle_minutes: float = Field(default=60, gt=0)
    session_hours: float = Field(default=12, gt=0)
    step_up_minutes: float = Field(default=10, gt=0)
    proxy_hops: int = Field(default=0, ge=0)
    log_format: str = Field(default="json", pattern="^(json|text)$")
    metrics_dir: str = ""
    metrics_token: str = Field(default="", pattern=r"^(\S{16,})?$")
    security_contact: str = Field(default="", pattern=r"^((mailto:[^@\s]+@[^@\s]+|https://[^\s/]+)[^\s]*)?$")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {value!r}") from error
        return value

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not re.match(r"https?://[^/?#]+", value):
            raise ValueError(f"not an absolute address: {value!r}")
        return value.rstrip("/")

    @property
    def metrics_folder(self) -> Path:
        """Where the processes of this server count together: METRICS_DIR, or beside an SQLite database, or in var."""
        if self.metrics_dir:
            return Path(self.metrics_dir)
        kind, _, path = self.database_url.partition(":///")
        return (Path(path).parent if kind.startswith("sqlite") and path else Path("var")) / "metrics"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that no log may hold."""
        listed = [key for name in SECRETS for key in _keys(getattr(self, name))]
        return tuple({*listed, self.metrics_token} - {"", DEFAULT_SECRET})

    @property
    def real(self) -> bool:
        """Whether real residents are at the other end."""
        return not self.gateway.startswith("recorder")

    @property
    def gateways(self) -> tuple[str, ...]:
        """The names of all gateways, the preferred first. The recorder stands in for Twilio."""
        return tuple(dict.fromkeys(self.gateway.replace("recorder", "twilio").split(",")))

    def check(self) -> None:
        """Raise SettingsError if nobody can start on this: too few or many keys, and if this is a real service a secret
        that is missing or at its default.
        """
        if not self.real:
            faults = _miscounted(self)
            if self.twilio_api_url and not _LOOPBACK.match(self.twilio_api_url):
                faults.append("TWILIO_API_URL must be on this machine")
            if faults:
                raise SettingsError(f"GATEWAY={self.gateway} does not start: " + "; ".join(faults))
            return
        faults = [
            f"{name.upper()} is {'missing' if not getattr(self, name) else 'at its default'}"
            for name in SECRETS
            if getattr(self, name) in ("", DEFAULT_SECRET)
        ]
        faults += _miscounted(self)
        for name in _KEYS:
            faults += [
                f"{name.upper()}: {e}" for e in _weak(getattr(self, name)) if getattr(self, name) != DEFAULT_SECRET
            ]
        if not self.twilio_from and not self.twilio_messaging_service_sid:
            faults.append("TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID is missing")
        if not self.public_url.startswith("https://"):
            faults.append("PUBLIC_URL must begin with https://")
        if faults:
            raise SettingsError(f"GATEWAY={self.gateway} does not start: " + "; ".join(faults))


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment and `.env`. Raises SettingsError naming each that is wrong."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise SettingsError("; ".join(faults)) from error


def key_list(value: str) -> tuple[str, ...]:
    """The keys of a setting that takes a list, newest first, separated by commas. Raises SettingsError without any."""
    keys = _keys(value)
    if not keys:
        raise SettingsError("NUMBER_KEY and LOOKUP_KEY: at least one key each")
    return keys


def _keys(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _miscounted(settings: Settings) -> list[str]:
    return [
        f"{name.upper()}: one to {MOST_KEYS} keys, separated by commas"
        for name in _KEYS
        if not 1 <= len(_keys(getattr(settings, name))) <= MOST_KEYS
    ]


def _weak(value: str) -> list[str]:
    return [f"key {n} is shorter than 32 characters" for n, k in enumerate(_keys(value), 1) if len(k) < 32]
