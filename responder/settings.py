"""Settings, frozen, from the environment or `.env`. `.env.example` explains each; a test holds the two together."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

from phonenumbers import SUPPORTED_REGIONS
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from responder.core.numbers import EVERYWHERE, countries

DEFAULT_SECRET = "change-me"  # noqa: S105 - the value production refuses
SECRETS = ("secret_key", "number_key", "lookup_key", "twilio_account_sid", "twilio_auth_token")
ELKS_SECRETS = ("elks_username", "elks_password", "elks_path")
LONGEST = 100_000  # hours, eleven years: a span that times can be put off by
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
    elks_username: str = ""
    elks_password: str = DEFAULT_SECRET
    elks_from: str = Field(default="", pattern=r"^(\+[1-9]\d{6,14})?$")
    elks_call_from: str = Field(default="", pattern=r"^(\+[1-9]\d{6,14})?$")
    elks_api_url: str = ""
    elks_path: str = Field(default="", pattern=r"^([A-Za-z0-9_-]{32,100})?$")
    elks_addresses: str = "176.10.154.199,85.24.146.132,185.39.146.243,2001:9b0:2:902::199"
    elks_address_header: str = Field(default="", pattern=r"^([A-Za-z][A-Za-z0-9-]*)?$")
    elks_send_rate: float = Field(default=1.6, gt=0)
    modem_database: str = ""
    modem_phone_id: str = Field(default="", pattern=r"^[!-~]{0,40}$")
    flows_dir: Path = Path(__file__).resolve().parent.parent / "flows"
    audio_dir: str = ""
    recordings_dir: str = ""
    audio_max_mb: int = Field(default=1000, gt=0)
    gateway: str = Field(default="recorder", pattern="^(recorder|twilio|46elks|modem)(,(twilio|46elks|modem))*$")
    sender_name: str = Field(default="Stockholms stad", pattern=r"\S")
    helpline_number: str = Field(default="113 13", pattern=r"\d")
    stale_after: float = Field(default=12, gt=0, le=LONGEST)
    retain_days: int = Field(default=7, gt=0)
    timezone: str = "Europe/Stockholm"
    send_rate: float = Field(default=10, gt=0)
    call_rate: float = Field(default=1, gt=0)
    modem_rate: float = Field(default=0.2, gt=0)
    send_concurrency: int = Field(default=64, gt=0)
    api_timeout: float = Field(default=10, gt=0)
    gateway_hold: float = Field(default=60, gt=0)
    push_settle_seconds: float = Field(default=60, ge=0)
    reconcile_seconds: float = Field(default=60, gt=0)
    approve_above: int = Field(default=1000, ge=0)
    follow_up_hours: float = Field(default=3, ge=0)
    host_ask_hours: float = Field(default=4, gt=0, le=LONGEST)
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

    @field_validator("reply_countries", "subscribe_countries")
    @classmethod
    def _known_countries(cls, value: str) -> str:
        if unknown := sorted(countries(value) - SUPPORTED_REGIONS - {EVERYWHERE}):
            raise ValueError(f"no such country: {', '.join(unknown)}; two letters each, with commas between")
        return value

    @field_validator("reply_countries")
    @classmethod
    def _somebody(cls, value: str) -> str:
        if not countries(value):
            raise ValueError(f"nobody would be answered; {EVERYWHERE} stands for all")
        return value

    @field_validator("elks_addresses")
    @classmethod
    def _networks(cls, value: str) -> str:
        for part in _keys(value):
            ip_network(part)  # its ValueError names what is wrong
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
        return Path(self.metrics_dir) if self.metrics_dir else self._beside / "metrics"

    @property
    def audio_folder(self) -> Path:
        """Where spoken answers lie for providers that play files: AUDIO_DIR, or where METRICS_DIR would be."""
        return Path(self.audio_dir) if self.audio_dir else self._beside / "audio"

    @property
    def _beside(self) -> Path:
        """The folder of an SQLite database, else var."""
        kind, _, path = self.database_url.partition(":///")
        return Path(path).parent if kind.startswith("sqlite") and path else Path("var")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that no log may hold."""
        listed = [key for name in (*SECRETS, *ELKS_SECRETS) for key in _keys(getattr(self, name))]
        return tuple({*listed, self.metrics_token} - {"", DEFAULT_SECRET})

    @property
    def real(self) -> bool:
        """Whether real residents are at the other end."""
        return not self.gateway.startswith("recorder")

    @property
    def gateways(self) -> tuple[str, ...]:
        """The names of all gateways, the preferred first. The recorder stands in for Twilio."""
        return tuple(dict.fromkeys(self.gateway.replace("recorder", "twilio").split(",")))

    @property
    def elks_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where 46elks calls us from."""
        return tuple(ip_network(part) for part in _keys(self.elks_addresses))

    @property
    def needed(self) -> tuple[str, ...]:
        """The names of the secrets that a real service with these gateways cannot be without."""
        ours = tuple(name for name in SECRETS if not name.startswith("twilio_") or "twilio" in self.gateways)
        return ours + (ELKS_SECRETS if "46elks" in self.gateways else ())

    def check(self) -> None:
        """Raise SettingsError if nobody can start on this: too few or many keys, and if this is a real service a secret
        that is missing or at its default.
        """
        if not self.real:
            faults = _miscounted(self) + _elks_faults(self) + _modem_faults(self)
            for name in ("twilio_api_url", "elks_api_url"):
                if getattr(self, name) and not _LOOPBACK.match(getattr(self, name)):
                    faults.append(f"{name.upper()} must be on this machine")
            if faults:
                raise SettingsError(f"GATEWAY={self.gateway} does not start: " + "; ".join(faults))
            return
        faults = [
            f"{name.upper()} is {'missing' if not getattr(self, name) else 'at its default'}"
            for name in self.needed
            if getattr(self, name) in ("", DEFAULT_SECRET)
        ]
        faults += _miscounted(self) + _elks_faults(self) + _modem_faults(self)
        for name in _KEYS:
            faults += [
                f"{name.upper()}: {e}" for e in _weak(getattr(self, name)) if getattr(self, name) != DEFAULT_SECRET
            ]
        if "twilio" in self.gateways and not self.twilio_from and not self.twilio_messaging_service_sid:
            faults.append("TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID is missing")
        if not self.public_url.startswith("https://") and self.gateways != ("modem",):  # which nobody calls
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
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f".env, line {line}: not UTF-8 (save the file as UTF-8)") from error


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


def _elks_faults(settings: Settings) -> list[str]:
    """What 46elks needs in any case: where there is no signature, the address must not be anybody's."""
    if "46elks" not in settings.gateways:
        return []
    faults = ["ELKS_FROM is missing"] if not settings.elks_from else []
    if not settings.elks_path and not settings.real:  # else it is among the secrets that are missing
        faults.append("ELKS_PATH is missing")
    if not settings.elks_networks:
        faults.append("ELKS_ADDRESSES is missing")
    if settings.proxy_hops and not settings.elks_address_header:
        faults.append("ELKS_ADDRESS_HEADER is missing: behind PROXY_HOPS proxies every request comes from the nearest")
    if settings.elks_address_header and not settings.proxy_hops:
        faults.append("ELKS_ADDRESS_HEADER needs PROXY_HOPS: without a proxy anybody may write that header")
    return faults


def _modem_faults(settings: Settings) -> list[str]:
    """A modem that nobody reads, or that cannot be found."""
    if settings.modem_database and "modem" not in settings.gateways:
        return ["MODEM_DATABASE is set, and modem is not in GATEWAY"]
    missing = settings.real and "modem" in settings.gateways and not settings.modem_database
    return ["MODEM_DATABASE is missing"] if missing else []


def _weak(value: str) -> list[str]:
    return [f"key {n} is shorter than 32 characters" for n, k in enumerate(_keys(value), 1) if len(k) < 32]
