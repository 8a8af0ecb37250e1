"""The currencies that a new org with several of them has, and the codes that there are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.salesforce.ids import make_id

CORPORATE_CURRENCY = "GBP"
ISO_CODES = (
    "AED", "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR", "JPY", "KRW",
    "KWD", "MXN", "NOK", "NZD", "PLN", "RON", "SEK", "SGD", "THB", "TRY", "USD", "ZAR",
)  # fmt: skip
EVER, NEVER = (
    "0001-01-01",
    "9999-12-31",
)  # unconfirmed: where the first dated rate begins and the last one ends
_RATES = (("GBP", "1"), ("EUR", "1.17"), ("USD", "1.27"))


def currency_rows() -> list[dict[str, Any]]:
    """Records of CurrencyType. Rates are against the corporate currency (doc)."""
    return [
        {
            "Id": make_id("01L", "Sb", at), "IsoCode": code, "ConversionRate": Decimal(rate),
            "DecimalPlaces": 2, "IsActive": True, "IsCorporate": code == CORPORATE_CURRENCY,
        }
        for at, (code, rate) in enumerate(_RATES, 1)
    ]  # fmt: skip


def first_rates() -> list[dict[str, Any]]:
    """Records of DatedConversionRate: what the rates were until somebody dates another one."""
    return [
        {
            "Id": make_id("04w", "St", at), "IsoCode": code, "ConversionRate": Decimal(rate),
            "StartDate": EVER, "NextStartDate": NEVER,
        }
        for at, (code, rate) in enumerate(_RATES, 1)
    ]  # fmt: skip
