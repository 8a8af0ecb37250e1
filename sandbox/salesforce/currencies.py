"""What an org with several currencies takes and refuses: codes of records, currencies, rates with a date.

An org with one currency has none of it (recorded): neither CurrencyType nor CurrencyIsoCode. The switch
multi_currency makes it one with several; with dated_rates besides it has advanced currency management.
Rates are units of a currency for one of the corporate currency. No amount is converted when a rate changes (doc).
"""

from __future__ import annotations

from itertools import pairwise

from sandbox.salesforce.currency_data import NEVER
from sandbox.salesforce.describe import label
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import Org
from sandbox.salesforce.sales import exact, integrity
from sandbox.salesforce.schema import SObject
from sandbox.store import Body


def completed(org: Org, sobject: SObject, body: Body, before: Body | None, written: set[str]) -> Body:
    """The record with what the system adds to it, or Refused. before: as it was, None when it is made."""
    if sobject.name == "CurrencyType":
        return _currency(org, body, before)
    if sobject.name == "DatedConversionRate":
        return _rate(org, body, before)
    code = body.get("CurrencyIsoCode") if "CurrencyIsoCode" in written else None
    f = sobject.field("CurrencyIsoCode")
    if f and code and code != (before or {}).get("CurrencyIsoCode") and code not in active(org):
        message = f"{label(f)}: bad value for restricted picklist field: {code}"
        raise Refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=[f.name])
    return body


def active(org: Org) -> list[str]:
    """The codes that new records may have: none in an org with one currency."""
    return [row["IsoCode"] for row in org.rows("CurrencyType") if row.get("IsActive")]


def _currency(org: Org, body: Body, before: Body | None) -> Body:
    """Unconfirmed: the wording of all refusals here."""
    same = [row for row in org.rows("CurrencyType") if row["IsoCode"] == body["IsoCode"]]
    if before is None and same:
        raise Refused(
            "DUPLICATE_VALUE", f"duplicate value found: IsoCode {body['IsoCode']}", fields=["IsoCode"]
        )
    _check_rate(body)
    if body.get("IsCorporate") and exact(body["ConversionRate"]) != 1:
        raise integrity("ConversionRate", "the rate of the corporate currency is one")
    if body.get("IsCorporate") and not body.get("IsActive"):
        raise integrity("IsActive", "the corporate currency is always active")
    return {"DecimalPlaces": 2, "IsCorporate": False, **body}


def _rate(org: Org, body: Body, before: Body | None) -> Body:
    if before is None and org.dialect["dated_rate_create"] == "refused":
        message = "entity type DatedConversionRate does not support insert"
        raise Refused("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, fields=[])
    if body["IsoCode"] not in {row["IsoCode"] for row in org.rows("CurrencyType")}:
        message = f"Iso Code: bad value for restricted picklist field: {body['IsoCode']}"
        raise Refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=["IsoCode"])
    _check_rate(body)
    corporate = {row["IsoCode"] for row in org.rows("CurrencyType") if row.get("IsCorporate")}
    if body["IsoCode"] in corporate and exact(body["ConversionRate"]) != 1:
        raise integrity("ConversionRate", "the rate of the corporate currency is one")
    others = [row for row in living_rates(org, body["IsoCode"]) if row["Id"] != body["Id"]]
    if any(row["StartDate"] == body["StartDate"] for row in others):  # unconfirmed: the wording
        raise Refused("DUPLICATE_VALUE", "duplicate value found: StartDate", fields=["StartDate"])
    later = [row["StartDate"] for row in others if row["StartDate"] > body["StartDate"]]
    return {**body, "NextStartDate": min(later, default=NEVER)}


def _check_rate(body: Body) -> None:
    if exact(body["ConversionRate"]) <= 0:
        raise integrity("ConversionRate", "the rate must be greater than zero")


def living_rates(org: Org, code: str) -> list[Body]:
    """The dated rates of a currency, oldest first."""
    rows = [row for row in org.rows("DatedConversionRate") if row["IsoCode"] == code]
    return sorted((row for row in rows if not row.get("IsDeleted")), key=lambda row: row["StartDate"])


def following(org: Org, kind: str, body: Body) -> list[Body]:
    """The dated rates that now end on another day: each ends where the next one begins (doc)."""
    if kind != "DatedConversionRate":
        return []
    rates = living_rates(org, body["IsoCode"])
    ends = [later["StartDate"] for _, later in pairwise(rates)] + [NEVER]
    pairs = zip(rates, ends, strict=True)
    return [{**rate, "NextStartDate": end} for rate, end in pairs if rate["NextStartDate"] != end]


def check_delete(org: Org, kind: str, body: Body) -> None:
    """The only rate of a currency stays. Unconfirmed: that it does."""
    if kind == "DatedConversionRate" and len(living_rates(org, body["IsoCode"])) == 1:
        raise Refused("DELETE_FAILED", "a currency needs a rate", fields=[])
