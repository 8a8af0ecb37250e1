"""The settings of one pair: a TOML file, each key also by environment (RECONCILE_XERO__API_URL ...)."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from reconcile.errors import FixSettings, WrongSetting

PREFIX = "RECONCILE_"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pair(Section):
    """One Salesforce org and one Xero organisation."""

    name: str = "pair"
    environment: Literal["sandbox", "production"] = "sandbox"
    data_dir: Path = Path(".reconcile")
    region: str = "GB"  # ISO country in which a phone number without a prefix is read

    @field_validator("region")
    @classmethod
    def known_region(cls, region: str) -> str:
        import phonenumbers

        if region not in phonenumbers.SUPPORTED_REGIONS:
            hint = "; the United Kingdom is GB" if region.upper() == "UK" else ""
            raise ValueError(f"a country of ISO 3166 in two capital letters, as GB or US{hint}")
        return region


class Xero(Section):
    api_url: str = "https://api.xero.com"
    identity_url: str = "https://identity.xero.com"
    login_url: str = "https://login.xero.com"
    auth: Literal["client_credentials", "refresh_token"] = "client_credentials"
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    refresh_token: SecretStr = SecretStr("")  # the first one; its successors live in the journal
    tenant_id: str = ""
    scopes: str = "accounting.contacts accounting.settings.read"


class Salesforce(Section):
    login_url: str = "https://login.salesforce.com"
    auth: Literal["jwt", "client_credentials"] = "jwt"
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    username: str = ""
    private_key_file: Path | None = None
    audience: str = ""  # JWT's aud; empty: login_url
    api_version: str = "67.0"


class Journal(Section):
    url: str = ""  # an SQLAlchemy address; empty: SQLite in data_dir
    key: SecretStr = SecretStr("")  # 64 hex digits; encrypts tokens, requests and bases


class Warehouse(Section):
    path: Path | None = None  # empty: warehouse.duckdb in data_dir
    key: SecretStr = SecretStr("")


class Limits(Section):
    """What a plan may do without approval of its hash, and how hard the systems may be used."""

    max_operations: int = Field(default=5000, ge=0)
    max_share: float = Field(default=0.5, ge=0, le=1)  # of the linked records of one system
    max_amount: dict[str, Decimal] = {}  # currency -> what the invoices of one plan may add up to
    plan_expires_h: float = Field(default=24, gt=0)
    xero_calls_a_minute: int = Field(default=60, gt=0)
    xero_concurrent: int = Field(default=5, gt=0)
    xero_app_calls_a_minute: int = Field(default=10_000, gt=0)  # of all connections of the app
    xero_gb_price: Decimal = Field(default=Decimal(0), ge=Decimal(0))  # billed for a GB that Xero sends
    xero_gb_currency: str = Field(default="AUD", pattern="^[A-Z]{3}$")
    xero_day_reserve: float = Field(default=0.1, ge=0, lt=1)  # share of the day's calls left to other apps
    salesforce_day_reserve: float = Field(default=0.2, ge=0, lt=1)
    shared_dir: Path | None = None  # where the processes of a connection meet; empty: the user's state folder
    breaker_failures: int = Field(default=10, gt=0)  # in a row, until calls are stopped
    breaker_share: float = Field(default=0.5, gt=0, le=1)  # or of a minute's calls, if they are 20 or more
    breaker_pause_s: float = Field(default=30, gt=0)
    timeout_s: float = Field(default=30, gt=0)
    retries: int = Field(default=5, ge=0)  # of reads, and of refusals that wrote nothing
    lease_s: float = Field(default=120, gt=0)
    lease_wait_s: float = Field(default=0, ge=0)  # how long a second run waits for the first
    late_application_s: float = Field(
        default=90, gt=0
    )  # the longest a vendor may take to apply what we gave up on
    job_patience_s: float = Field(default=1800, gt=0)  # the longest that one of our jobs is waited for

    @field_validator("max_amount", mode="before")
    @classmethod
    def by_currency(cls, given: Any) -> Any:
        """Take a table of currencies; from the environment as JSON."""
        try:
            found = json.loads(given, parse_float=Decimal) if isinstance(given, str) else given
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(re.fullmatch("[A-Z]{3}", str(name)) for name in found):
            raise ValueError("a table of currencies and amounts, as {GBP = 10000}")
        return found

    @field_validator("max_amount")
    @classmethod
    def not_below_zero(cls, found: dict[str, Decimal]) -> dict[str, Decimal]:
        if any(not amount.is_finite() or amount < 0 for amount in found.values()):
            raise ValueError("amounts of zero or more")
        return found


class Pull(Section):
    overlap_s: int = Field(
        default=900, ge=0
    )  # Salesforce commits late (10 minutes at most); Xero's boundary is unclear
    full_every_h: float = Field(default=24 * 7, gt=0)
    smallest_share: float = Field(
        default=0.8, ge=0, le=1
    )  # of the previous snapshot; a smaller sweep is refused
    # A sweep of so many rows or more goes by Bulk API. By calls, measured on the sandbox: 20,000 rows are 12 by
    # query (2,000 rows a page; Salesforce may give fewer, to 200), 10 by a job that is done at once, 15 by one that
    # takes a minute and a half. Below 16,000 rows a job is dearer; at 500,000 a query's 252 stand against some 45.
    bulk_from_rows: int = Field(default=20_000, ge=1)


class Push(Section):
    """How writes are sent."""

    documents_at_once: int = Field(default=50, ge=1, le=50)  # invoices in one request
    # record: each update of Salesforce that people's edits can meet goes by itself, on a condition
    guard: Literal["collection", "record"] = "record"
    # So many new records of one object, or writes of our own fields, go as one job of Bulk API 2.0.
    bulk_from_rows: int = Field(default=2_000, ge=1)


class Audit(Section):
    """What is read again after a push."""

    history: Literal["all", "documents", "none"] = "all"  # of which records of Xero that were updated


class Mapping(Section):
    file: Path | None = None  # empty: the default mapping that comes with the package


class Settings(Section):
    """Everything that a run needs to know about its pair."""

    pair: Pair = Pair()
    xero: Xero = Xero()
    salesforce: Salesforce = Salesforce()
    journal: Journal = Journal()
    warehouse: Warehouse = Warehouse()
    limits: Limits = Limits()
    pull: Pull = Pull()
    push: Push = Push()
    audit: Audit = Audit()
    mapping: Mapping = Mapping()

    @field_validator("xero", "salesforce")
    @classmethod
    def roots_only(cls, section: Xero | Salesforce) -> Xero | Salesforce:
        for name, value in section.model_dump().items():
            if not name.endswith("_url"):
                continue
            if not str(value).startswith(
                ("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")
            ):
                raise ValueError(f"{name}: an address that begins with https:// (or http:// on this machine)")
            if str(value).count("/") > 2:
                raise ValueError(f"{name}: a root without path, as https://api.xero.com")
        return section

    @property
    def journal_url(self) -> str:
        return self.journal.url or f"sqlite:///{self.pair.data_dir / 'journal.db'}"

    @property
    def warehouse_path(self) -> Path:
        return self.warehouse.path or self.pair.data_dir / "warehouse.duckdb"


def load_settings(path: Path, environ: dict[str, str] | None = None) -> Settings:
    """Read the file, lay the environment over it, and check both.

    Relative paths in it are relative to the file's folder.
    Raises FixSettings where the file can't be read, WrongSetting where a key or value is wrong
    (it names file, line, found and expected, or the variable).
    """
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FixSettings(
            f"{path}: not valid TOML: {error}. Correct the file, or make a new one with `reconcile init`."
        ) from None
    given = _from_environment(dict(os.environ) if environ is None else environ)
    for (section, key), value in given.items():
        data.setdefault(section, {})[key] = value
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise _explain(error, path, text, given) from None
    return _anchored(settings, path.resolve().parent)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FixSettings(
            f"{path}: there is no such file. `reconcile init` makes one; `--settings FILE` names another."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise FixSettings(f"{path}: can't be read: {error}.") from None


def _from_environment(environ: dict[str, str]) -> dict[tuple[str, str], str]:
    given = {}
    for name, value in environ.items():
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        if name.startswith(PREFIX) and key:
            given[section, key] = value
    return given


def _explain(
    error: ValidationError, path: Path, text: str, given: dict[tuple[str, str], str]
) -> WrongSetting:
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    section, key = loc[0], loc[1] if len(loc) > 1 else ""
    if not key and ":" in first["msg"]:  # a check of the whole section names the key itself
        key = first["msg"].removeprefix("Value error, ").partition(":")[0]
    if (section, key) in given:
        at = f"environment variable {PREFIX}{section.upper()}__{key.upper()}"
    else:
        at = f"{path}:{_line(text, section, key)}: {'.'.join(filter(None, (section, key)))}"
    if first["type"] == "extra_forbidden":
        known = _known(section if key else None)
        near = difflib.get_close_matches(key or section, known, n=1)
        expected = f"{near[0]!r} (the nearest)" if near else "one of " + ", ".join(known)
        return WrongSetting(at=at, found="a key that does not exist", expected=expected)
    secret = any(word in key for word in ("secret", "token", "key"))
    found = (
        "a value of the wrong kind"
        if secret or isinstance(first["input"], dict)
        else repr(_input(first, key))
    )
    message = first["msg"].removeprefix("Value error, ").removeprefix(f"{key}: ")
    return WrongSetting(at=at, found=found, expected=message[:1].lower() + message[1:])


def _input(first: Any, key: str) -> Any:
    value = first["input"]
    return getattr(value, key, value)


def _known(section: str | None) -> list[str]:
    if section is None:
        return list(Settings.model_fields)
    kind = Settings.model_fields[section].annotation
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _line(text: str, section: str, key: str) -> int:
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.strip("[] ")
            if current == section and not key:
                return number
        name = stripped.partition("=")[0].strip()
        if (current == section and name == key) or name == f"{section}.{key}":
            return number
    return 1


def _anchored(settings: Settings, folder: Path) -> Settings:
    def at(path: Path | None) -> Path | None:
        return None if path is None else folder / path

    return settings.model_copy(
        update={
            "pair": settings.pair.model_copy(update={"data_dir": folder / settings.pair.data_dir}),
            "salesforce": settings.salesforce.model_copy(
                update={"private_key_file": at(settings.salesforce.private_key_file)}
            ),
            "limits": settings.limits.model_copy(update={"shared_dir": at(settings.limits.shared_dir)}),
            "warehouse": settings.warehouse.model_copy(update={"path": at(settings.warehouse.path)}),
            "mapping": settings.mapping.model_copy(update={"file": at(settings.mapping.file)}),
        }
    )
