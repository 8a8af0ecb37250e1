"""Texts folded, and whose an e-mail address is."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile import names


def words(text: str) -> list[str]:
    return text.split()


def one(expression: object, text: str | None) -> str | None:
    return pl.DataFrame({"it": [text]}, schema={"it": pl.String}).select(expression(pl.col("it"))).item()  # type: ignore[operator]


@given(st.text())
def test_a_column_is_folded_as_a_value_is(text: str) -> None:
    assert one(names.folded, text) == names.fold(text)


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    for expression in (names.folded, names.upper, names.lower, names.code, names.email, names.website):
        once = one(expression, text)
        assert one(expression, once) == once


@given(st.text(alphabet="aé b\t\n\u00a0\u3000\u200b"))
def test_whitespace_that_a_vendor_folds_is_no_difference(text: str) -> None:
    assert names.fold(" ".join(text.split())) == names.fold(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Acme \u00a0 Ltd\n", "Acme Ltd"),
        ("Zoe\u0308", "Zoë"),
        ("ACME", "ACME"),
        ("\u200b \ufeff", None),
        ("", None),
        (None, None),
    ],
)
def test_a_text_is_trimmed_composed_and_keeps_its_capitals(text: str | None, expected: str | None) -> None:
    assert names.fold(text) == expected


def test_an_email_is_compared_in_lower_case() -> None:
    assert one(names.email, " Mailto:Jo.Bloggs@ACME.com ") == "jo.bloggs@acme.com"


def test_a_tax_number_is_its_letters_and_digits() -> None:
    assert one(names.code, "gb 123-4567.89") == "GB123456789"
    assert one(names.code, " - ") is None


def test_a_web_address_loses_its_scheme_and_keeps_its_path() -> None:
    assert one(names.website, "HTTPS://WWW.Acme.com/About/") == "www.acme.com/About"


@pytest.mark.parametrize(
    "address",
    words(
        "accounts@x.com accounts.payable@x.com AccountsPayable@x.com ap@x.com ar@x.com "
        "billing@x.com billing+xero@x.com invoices@x.com ap-invoices@x.com info@x.com "
        "office@x.com finance@x.com accounts1@x.com uk.accounts@x.com accounts-uk@x.com "
        "finance_team@x.com no-reply@x.com purchase.ledger@x.com hello@x.com enquiries@x.com "
        "buchhaltung@x.de facturas@x.es "
    ),
)
def test_a_desk_has_a_role_mailbox(address: str) -> None:
    assert pl.select(names.is_role_mailbox(names.email(pl.lit(address)))).item()


@pytest.mark.parametrize(
    "address",
    words(
        "jo@x.com jo.bloggs@x.com arthur@x.com april@x.com apu@x.com teamer@x.com "
        "salesman.joe@x.com info.jane@x.com mailer@x.com bill@x.com j@accounts.com arus@x.com "
        "offices.jo@x.com jo.accounts@x.com j-info@x.com "
    ),
)
def test_a_person_has_none(address: str) -> None:
    assert not pl.select(names.is_role_mailbox(pl.lit(address))).item()
