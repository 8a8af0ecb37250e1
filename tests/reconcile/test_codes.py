"""Which code a line gets, who gave it, and which codes are stopped by the chart of accounts."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from two_books import raw_of

from reconcile.codes import Default, check_codes, code_lines, read_chart, read_code_rules
from reconcile.errors import WrongMapping
from reconcile.marked import read_yaml
from reconcile.model import CODED, HISTORY, WANTED

SINCE = date(2025, 1, 1)
DAY = date(2026, 11, 20)
SERVICES = "- {when: \"family = 'Services'\", then: {account: '210', tax: ECOUTPUTSERVICES}}\n"
EU = "- {when: \"region = 'EU'\", then: {tax: ECOUTPUT}}\n"


def rules(text: str) -> Any:
    tree = read_yaml("rules:\n" + text, name="mine.yaml").value
    assert isinstance(tree, dict)
    return read_code_rules(tree["rules"], "rules")


def line(line_id: str = "l1", **fields: Any) -> dict[str, Any]:
    known = {"date": DAY, "contact_id": "c1", "item": "A1", "family": "Goods", "region": "UK", "total": "100"}
    return {"line_id": line_id, **known, **fields}


def coded(
    text: str, *lines: dict[str, Any], history: pl.DataFrame | None = None, **settings: Any
) -> pl.DataFrame:
    wanted = pl.DataFrame(list(lines), schema={**WANTED, "total": pl.String})
    return code_lines(wanted, rules(text) if text else (), history, since=SINCE, **settings)


def code_of(text: str, one: dict[str, Any], **settings: Any) -> tuple[Any, ...]:
    return coded(text, one, **settings).select("account", "tax", "how", "reason").row(0)


def past(count: int, account: str = "200", tax: str = "OUTPUT2") -> pl.DataFrame:
    """Past lines of A1, each to another customer; the first of them a year ago."""
    rows = [
        (f"p{n}", f"d{n}", date(2026 if n else 2025, 11, 10), f"x{n}", "A1", "Goods", "UK", account, tax)
        for n in range(count)
    ]
    return pl.DataFrame(rows, schema=dict(HISTORY), orient="row")


# --- Who decides


def test_a_rule_that_holds_gives_both_codes_and_is_named() -> None:
    found = coded(SERVICES, line(family="Services")).row(0, named=True)
    assert (found["account"], found["tax"], found["how"]) == ("210", "ECOUTPUTSERVICES", "rule")
    assert found["by"] == "mine.yaml:2: rules[1]"
    assert (found["reason"], found["draft"]) == (None, False)


def test_a_rule_decides_before_past_bookings_and_they_before_the_default() -> None:
    default, history = Default("260", "NONE"), past(5)
    both = {"default": default, "history": history}
    assert code_of(SERVICES, line(family="Services"), **both)[:3] == ("210", "ECOUTPUTSERVICES", "rule")
    assert code_of(SERVICES, line(), **both)[:3] == ("200", "OUTPUT2", "inferred")
    assert code_of(SERVICES, line(item="B2"), **both)[:3] == ("260", "NONE", "default")
    assert code_of(SERVICES, line(item="B2"), history=history)[2] == "asked"


def test_without_rule_history_or_default_a_person_is_asked() -> None:
    assert code_of("", line()) == (None, None, "asked", "no rule and no default gives it an account")


def test_what_is_inferred_may_only_become_a_draft() -> None:
    found = coded(SERVICES, line("a"), line("b", family="Services"), history=past(5))
    assert found.select("line_id", "draft").rows() == [("a", True), ("b", False)]


def test_a_condition_that_can_not_be_told_does_not_hold() -> None:
    assert code_of(SERVICES, line(family=None))[2] == "asked"


def test_rules_may_give_one_code_each() -> None:
    text = "- {when: \"family = 'Services'\", then: {account: '210'}}\n" + EU
    found = coded(text, line(family="Services", region="EU")).row(0, named=True)
    assert (found["account"], found["tax"]) == ("210", "ECOUTPUT")
    assert found["by"] == "mine.yaml:2: rules[1]; mine.yaml:3: rules[2]"


def test_a_rule_without_a_tax_leaves_it_to_the_default_or_the_account() -> None:
    text = "- {when: \"item = 'A1'\", then: {account: '210'}}\n"
    assert code_of(text, line(), default=Default(None, "OUTPUT2"))[:2] == ("210", "OUTPUT2")
    assert code_of(text, line(), history=past(5))[:2] == ("210", None)


def test_a_tax_by_rule_leaves_the_account_to_past_bookings() -> None:
    found = coded(EU, line(region="EU"), history=past(5).with_columns(region=pl.lit("EU"))).row(0, named=True)
    assert (found["account"], found["tax"], found["how"]) == ("200", "ECOUTPUT", "inferred")
    assert (found["by"], found["draft"]) == ("mine.yaml:2: rules[1]; item", True)


def test_where_the_tax_is_settled_past_taxes_need_not_agree() -> None:
    mixed = pl.concat([past(4), past(4, tax="ZERORATEDOUTPUT").with_columns(line_id=pl.col("line_id") + "z")])
    history = mixed.with_columns(region=pl.lit("EU"))
    assert code_of(EU, line(region="EU"), history=history)[:3] == ("200", "ECOUTPUT", "inferred")
    assert code_of("", line(region="EU"), history=history)[2] == "asked"


def test_a_line_that_is_asked_has_no_code_at_all() -> None:
    assert code_of(EU, line(region="EU"))[:3] == (None, None, "asked")


# --- Holding


HELD = "- {when: \"item = 'A1'\", then: {account: '200'}, hold: 'total > 10000'}\n"


@pytest.mark.parametrize(
    ("total", "reason"),
    [
        ("10000", None),
        ("10000.01", "held by rule: mine.yaml:2: rules[1]"),
        (None, "held by rule: mine.yaml:2: rules[1]"),
    ],
)
def test_a_rule_holds_what_goes_beyond_its_limit_or_can_not_be_told(
    total: str | None, reason: str | None
) -> None:
    assert code_of(HELD, line(total=total)) == ("200", None, "rule", reason)


# --- Rules that disagree


@pytest.mark.parametrize(
    ("one", "other", "line_for_both"),
    [
        ("region = 'EU'", "family = 'Services'", "family = 'Services', region = 'EU'"),
        ("region = 'EU'", "region in ('UK', 'EU')", "region = 'EU'"),
        ("region <> 'EU'", "region <> 'UK'", "region = 'another value'"),
        ("region is distinct from 'EU'", "region is null", "region is null"),
        ("total > 100", "total < 150", "total = '101'"),
        ("total between 10 and 20", "total >= 20", "total = '20'"),
        ("family like 'Serv%'", "family = 'Services'", "family = 'Services'"),
        ("lower(region) = 'eu'", "region is not null", "region = 'eu'"),
        ("true", "region = 'EU'", "region = 'EU'"),
    ],
)
def test_two_rules_that_disagree_on_a_line_are_refused_with_that_line(
    one: str, other: str, line_for_both: str
) -> None:
    with pytest.raises(WrongMapping) as caught:
        rules(
            f'- {{when: "{one}", then: {{account: "200"}}}}\n- {{when: "{other}", then: {{account: "210"}}}}\n'
        )
    told = str(caught.value)
    assert told.startswith(
        "mine.yaml:3: rules[2]: found another account or tax than that of the rule at mine.yaml:2"
    )
    assert f"where both hold: {line_for_both}, expected" in told


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("region = 'EU'", "region = 'UK'"),
        ("region = 'EU'", "region <> 'EU' and family = 'Services'"),
        ("total > 100", "total <= 100"),
        ("lower(region) = 'eu'", "upper(region) = 'UK'"),
        ("region is null", "region like '%'"),
    ],
)
def test_rules_that_never_meet_may_say_different_things(one: str, other: str) -> None:
    rules(f'- {{when: "{one}", then: {{account: "200"}}}}\n- {{when: "{other}", then: {{account: "210"}}}}\n')


def test_rules_that_meet_and_agree_may_stand() -> None:
    rules(SERVICES + "- {when: \"region = 'EU'\", then: {tax: ECOUTPUTSERVICES}}\n")
    rules(
        "- {when: \"region = 'EU'\", then: {tax: ECOUTPUT}}\n- {when: \"family = 'X'\", then: {account: '210'}}\n"
    )


BY_ITEM = "- {when: \"item = 'A1'\", then: {account: '205'}}\n"


def test_an_item_and_a_family_that_may_not_belong_together_are_left_to_the_lines() -> None:
    found = coded(
        SERVICES + BY_ITEM, line("a"), line("b", family="Services"), line("c", item="B2", family="Services")
    )
    assert found.select("account", "how", "reason").rows() == [
        ("205", "rule", None),
        (None, "asked", "rules disagree on it: mine.yaml:2: rules[1]; mine.yaml:3: rules[2]"),
        ("210", "rule", None),
    ]


def test_rules_that_disagree_on_a_line_hide_no_other_line_and_no_default_decides_for_them() -> None:
    both = {"default": Default("260"), "history": past(5)}
    found = coded(SERVICES + BY_ITEM, line("a", family="Services"), line("b", item="B2"), **both)
    assert found["how"].to_list() == ["asked", "default"]


CONDITIONS = st.sampled_from(
    [
        "region = 'EU'",
        "region <> 'EU'",
        "family = 'Services'",
        "total > 100",
        "total <= 100",
        "region is null",
    ]
)
WHENS = st.lists(CONDITIONS, min_size=1, max_size=3).map(" and ".join)
ALL_LINES = [
    line(str(number), region=region, family=family, total=total)
    for number, (region, family, total) in enumerate(
        itertools.product(("EU", "UK", None), ("Services", "Goods", None), ("100", "101", None))
    )
]


@given(WHENS, WHENS)
def test_what_passes_when_read_disagrees_on_no_line(one: str, other: str) -> None:
    """Over these few values every line can be tried: what is refused meets, and what is not never does."""
    text = f'- {{when: "{one}", then: {{account: "200"}}}}\n- {{when: "{other}", then: {{account: "210"}}}}\n'
    meets = False
    try:
        found = coded(text, *ALL_LINES)
        meets = bool(found["reason"].str.starts_with("rules disagree").any())
        assert not meets
    except WrongMapping:
        holding = [
            set(coded(part, *ALL_LINES).filter(pl.col("how") == "rule")["line_id"])
            for part in text.splitlines()
        ]
        assert holding[0] & holding[1]


# --- What is refused in a mapping


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {when: 'true'}\n", "expected the key 'then'"),
        ("- {then: {account: '200'}}\n", "expected the key 'when'"),
        ("- {when: 'true', then: {}}\n", "expected an account, a tax, or both"),
        ("- {when: 'true', then: {acount: '200'}}\n", "the nearest"),
        ("- {when: 'select 1', then: {account: '200'}}\n", "found"),
        ("- {when: 'true', then: {account: '200'}, hold: '1 +'}\n", "rules[1].hold"),
    ],
)
def test_a_rule_that_is_not_one_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(WrongMapping) as caught:
        rules(text)
    assert str(caught.value).startswith("mine.yaml:2: ")
    assert told in str(caught.value)


def test_rules_that_are_no_list_are_refused() -> None:
    with pytest.raises(WrongMapping, match=r"^mine.yaml:1: rules: found a mapping of keys, expected a list"):
        rules("  {when: 'true'}\n")


def test_a_rule_over_a_column_that_there_is_not_is_refused() -> None:
    with pytest.raises(WrongMapping, match=r"mine.yaml:2: rules\[1\]: found the name 'Region__c'"):
        coded("- {when: \"Region__c = 'EU'\", then: {account: '200'}}\n", line())


# --- The chart of accounts


ACCOUNTS = {
    "200": {"Type": "REVENUE", "TaxType": "OUTPUT2"},
    "205": {"Type": "SALES"},
    "SALES": {"Type": "OTHERINCOME", "TaxType": "INPUT2"},
    "299": {"Type": "REVENUE", "Status": "ARCHIVED"},
    "404": {"Type": "OVERHEADS"},
    "090": {"Type": "BANK"},
    "820": {"Type": "CURRLIAB", "SystemAccount": "GST"},
    "830": {"Type": "CURRLIAB", "SystemAccount": ""},
}
RATES = {
    "OUTPUT2": {"CanApplyToRevenue": True, "CanApplyToLiabilities": True},
    "INPUT2": {"CanApplyToRevenue": False, "CanApplyToLiabilities": False},
    "ONLYSALES": {"CanApplyToRevenue": True, "CanApplyToLiabilities": False},
    "OUTPUT": {"CanApplyToRevenue": True, "Status": "DELETED"},
    "TAX001": {},
}


def chart(**more: dict[str, Any]) -> Any:
    accounts = {
        f"id-{code}": {"AccountID": f"id-{code}", "Code": code, "Status": "ACTIVE", **fields}
        for code, fields in ACCOUNTS.items()
    }
    rates = {tax: {"TaxType": tax, "Status": "ACTIVE", **fields} for tax, fields in RATES.items()}
    return read_chart(raw_of(accounts | more), raw_of(rates))


def checked(
    account: str | None, tax: str | None, reason: str | None = None, **more: dict[str, Any]
) -> str | None:
    row = {
        "line_id": "l1",
        "account": account,
        "tax": tax,
        "how": "inferred",
        "evidence": "{}",
        "reason": reason,
    }
    return check_codes(pl.DataFrame([row], schema_overrides=dict(CODED)), chart(**more))["reason"].item()


@pytest.mark.parametrize(
    ("account", "tax", "reason"),
    [
        ("200", "OUTPUT2", None),
        ("sales", "OUTPUT2", None),
        ("205", "TAX001", None),
        ("205", None, None),  # an account that names no tax of its own: Xero decides, as it does without us
        ("830", "OUTPUT2", None),  # a deposit
        ("999", "OUTPUT2", "the account 999 is not in Xero"),
        ("299", "OUTPUT2", "the account 299 is archived in Xero"),
        ("404", "OUTPUT2", "the account 404 (OVERHEADS) takes no sales"),
        ("090", "OUTPUT2", "the account 090 (BANK) takes no sales"),
        ("820", "OUTPUT2", "the account 820 (GST) takes no sales"),
        ("200", "OUTPUT9", "the tax OUTPUT9 is not in Xero"),
        ("200", "OUTPUT", "the tax OUTPUT is deleted in Xero"),
        ("200", "INPUT2", "the tax INPUT2 can't be applied to the account 200"),
        ("830", "ONLYSALES", "the tax ONLYSALES can't be applied to the account 830"),
        ("SALES", None, "the tax INPUT2 can't be applied to the account SALES"),
        (None, None, None),
    ],
)
def test_a_code_that_is_not_for_sales_is_stopped_with_its_reason(
    account: str | None, tax: str | None, reason: str | None
) -> None:
    assert checked(account, tax) == reason


def test_the_reason_that_was_there_stays() -> None:
    assert checked("299", "OUTPUT2", reason="held by rule: mine.yaml:2") == "held by rule: mine.yaml:2"


def test_of_two_accounts_with_one_code_the_active_one_counts() -> None:
    gone = {"AccountID": "old", "Code": "200", "Status": "DELETED", "Type": "REVENUE"}
    assert checked("200", "OUTPUT2", old=gone) is None


@pytest.mark.in_turn
@given(st.permutations(range(len(ALL_LINES))))
def test_the_order_of_lines_stays_and_decides_nothing(order: list[int]) -> None:
    assume(order != sorted(order))
    plain = coded(SERVICES, *ALL_LINES, history=past(5), default=Default("260"))
    mixed = coded(SERVICES, *(ALL_LINES[place] for place in order), history=past(5), default=Default("260"))
    assert mixed["line_id"].to_list() == [str(place) for place in order]
    assert mixed.sort("line_id").equals(plain.sort("line_id"))
