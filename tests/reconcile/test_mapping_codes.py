"""What a mapping may say of codes and currencies, and what it is told where it says something else."""

from __future__ import annotations

from typing import Any

import pytest
from coded_sales import coded_sales

from reconcile.errors import WrongMapping

RULE = """      rules:
        - {when: "%s", then: {account: "210"}%s}
"""


def refused(lines: str = "", **keys: Any) -> str:
    with pytest.raises(WrongMapping) as caught:
        coded_sales(lines, **keys)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "place", "found", "expected"),
    [
        (RULE % ("famly = 'A'", ""), "mine.yaml:8", "the name 'famly'", "'family'"),
        (RULE % ("total > 5", ""), "mine.yaml:8", "the name 'total'", "family"),
        (RULE % ("family = 'A'", ', hold: "totl > 5"'), "mine.yaml:8", "the name 'totl'", "'total'"),
        (
            "      columns: {total: Opportunity.Amount}\n",
            "mine.yaml:7",
            "the name 'total'",
            "a name of your own",
        ),
        ("      columns: {team: Opportunity}\n", "mine.yaml:7", "'Opportunity'", "as Product2.Family"),
        (
            "      columns: {team: User.Name}\n",
            "mine.yaml:7",
            "'User.Name'",
            "one of Opportunity, OpportunityLineItem",
        ),
        ("      infer: {documents: none}\n", "mine.yaml:7", "'none'", "a number from 1 to 1000"),
        ("      infer: {undecided: guess}\n", "mine.yaml:7", "'guess'", "one of ask, default"),
        ("      infer: {level: 3}\n", "mine.yaml:7", "the key 'level'", "documents, spread"),
    ],
)
def test_what_it_does_not_understand_is_told_with_place_and_what_was_expected(
    lines: str, place: str, found: str, expected: str
) -> None:
    told = refused(lines)
    assert place in told
    assert f"found {found}" in told
    assert expected in told


@pytest.mark.parametrize(
    ("currency", "found", "expected"),
    [
        ("{rates: bank}", "'bank'", "xero, salesforce, salesforce_dated, table, service"),
        ("{rates: service}", "`rates: service`, and no service", "both or neither"),
        ("{rates: xero, service: ecb}", "a service, and rates of another source", "both or neither"),
        ("{rates: service, service: [ecb]}", "a list", "a text"),
        ("{rates: table}", "`rates: table`, and no table", "both or neither"),
        ("{rates: xero, table: {EUR: 1.1}}", "a table, and rates of another source", "both or neither"),
        ("{lacking: convert}", "`convert` with rates of Xero", "is not known before"),
        ("{rates: table, table: {EURO: 1.1}}", "'EURO'", "a currency of ISO 4217"),
        ("{rates: table, table: {EUR: {2026-13-01: 1.1}}}", "'2026-13-01'", "the day from which it holds"),
        ("{rates: table, table: {EUR: 0}}", "'0'", "units of that currency for one"),
        ("{rates: table, table: {EUR: '1,17'}}", "'1,17'", "units of that currency for one"),
    ],
)
def test_a_currency_key_that_can_not_be_meant_is_refused(currency: str, found: str, expected: str) -> None:
    told = refused(currency=currency)
    assert "mine.yaml:5" in told
    assert f"found {found}" in told
    assert expected in told


def test_two_rules_that_disagree_on_a_line_are_refused_with_that_line() -> None:
    lines = RULE % ("family = 'A'", "") + '        - {when: "region = \'EU\'", then: {account: "200"}}\n'
    told = refused(lines)
    assert "mine.yaml:9" in told
    assert "family = 'A', region = 'EU'" in told


def test_a_tax_by_rule_needs_line_amounts_that_have_tax() -> None:
    lines = "      rules:\n        - {when: \"family = 'A'\", then: {tax: OUTPUT2}}\n"
    assert "found a tax with `line_amounts: no_tax`" in refused(lines, line_amounts="no_tax", amount="ignore")


def test_the_hash_follows_the_meaning_of_rules_and_rates_and_neither_order_nor_place() -> None:
    one, other = (
        '        - {when: "item = \'A\'", then: {account: "210"}}\n',
        "        - {when: \"item = 'B'\", then: {tax: T}}\n",
    )
    in_order, turned = (
        coded_sales("      rules:\n" + one + other),
        coded_sales("      rules:\n" + other + one),
    )
    assert in_order.mapping.hash == turned.mapping.hash
    hashes = {
        coded_sales(lines, **keys).mapping.hash
        for lines, keys in (
            ("", {}),
            ("      rules:\n" + one, {}),
            ("      rules:\n" + one.replace("}}", '}, hold: "total > 1"}'), {}),
            ("      infer: {}\n", {}),
            ("      infer: {documents: 4}\n", {}),
            ("", {"currency": "{rates: table, table: {EUR: 1.1}}"}),
            ("", {"currency": "{rates: table, table: {EUR: 1.2}}"}),
            ("", {"currency": "{rates: service, service: ecb}"}),
            ("", {"currency": "{rates: service, service: fed}"}),
        )
    }
    assert len(hashes) == 9
