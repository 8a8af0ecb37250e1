"""What past bookings decide alone, what they leave open, and how they are read out of raw invoices."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import bookings
import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from two_books import raw_of

from reconcile.infer import Enough, history, infer_codes
from reconcile.model import HISTORY, WANTED

SINCE, DAY = date(2025, 10, 1), date(2026, 11, 20)
# Level -> what past lines share there with the wanted one, and what has to vary, as the product promises it.
SHARED = {
    "item and customer": ({"contact_id", "family", "item"}, set[str]()),
    "item": ({"region", "family", "item"}, {"contact_id"}),
    "family and customer": ({"contact_id", "family"}, {"item"}),
    "family": ({"region", "family"}, {"item", "contact_id"}),
    "customer": ({"contact_id"}, {"family"}),
}


def ledger(text: str) -> pl.DataFrame:
    """Past lines, one a line: day, customer, item, family, region, account, tax; - is null. Each its own invoice."""
    rows = []
    for number, row in enumerate(filter(str.strip, text.splitlines())):
        day, *fields = (None if field == "-" else field for field in row.split())
        rows.append((f"l{number}", f"d{number}", date.fromisoformat(str(day)), *fields))
    return pl.DataFrame(rows, schema=dict(HISTORY), orient="row")


def wanted(
    customer: str | None = "c1", item: str | None = "A1", family: str | None = "Goods", **more: Any
) -> dict:
    known = {
        "line_id": "w",
        "date": DAY,
        "contact_id": customer,
        "item": item,
        "family": family,
        "region": "UK",
    }
    return known | more


def infer(past: pl.DataFrame, one: dict[str, Any], **settings: Any) -> dict[str, Any]:
    frame = pl.DataFrame([one], schema=dict(WANTED))
    return infer_codes(frame, past, **{"since": SINCE, **settings}).row(0, named=True)


def decided(text: str, **line: Any) -> tuple[str | None, str | None]:
    """Give the account and the level that decided, or null and the reason of the question."""
    found = infer(ledger(text), wanted(**line))
    return (found["account"], found["by"]) if found["how"] == "inferred" else (None, found["reason"])


# --- Habits on a large scale


@pytest.mark.parametrize("seed", range(4))
def test_of_what_it_decides_alone_995_in_1000_are_right_where_5_in_100_past_lines_are_wrong(
    seed: int,
) -> None:
    right, told = score(seed, wrong=0.05)
    assert right >= 0.995, told


@pytest.mark.parametrize("seed", range(4))
def test_books_without_wrong_bookings_never_mislead(seed: int) -> None:
    right, told = score(seed, wrong=0)
    assert right == 1, told


def score(seed: int, *, wrong: float) -> tuple[float, str]:
    """Give the share of right decisions, and how many were decided by which level (right of all)."""
    books = bookings.bookings(seed, wrong=wrong)
    found = infer_codes(books.wanted, books.history, since=bookings.SINCE).filter(pl.col("how") == "inferred")
    rows = found.select("line_id", "by", "account", "tax").rows()
    decisions = Counter(by for _, by, _, _ in rows)
    hits = Counter(by for line_id, by, *code in rows if books.truth[line_id] == tuple(code))
    share = len(rows) / len(books.truth)
    by_level = {level: f"{hits[level]} of {count}" for level, count in decisions.items()}
    assert 0.1 < share < 0.6, f"decides {share:.1%} alone: no test of anything"
    return hits.total() / len(rows), f"seed {seed}: decides {share:.1%} alone; right by level: {by_level}"


# --- What holds for any history

CODES = st.sampled_from([("200", "OUTPUT2")] * 14 + [("210", "OUTPUT2"), ("200", "ZERORATEDOUTPUT")])
DAYS_AGO = st.integers(0, 500) | st.integers(350, 380)
LINES = st.tuples(
    st.sampled_from(["c1", "c2", "c3", "c4"]), st.sampled_from(["A1", "A2", "A3", None]),
    st.sampled_from(["UK", "UK", "EU", None]), CODES, DAYS_AGO.map(lambda days: DAY - timedelta(days)),
    st.integers(0, 30),
)  # fmt: skip
HISTORIES = st.lists(LINES, min_size=3, max_size=30)
FAMILY = {"A1": "Goods", "A2": "Goods", "A3": "Parts", "A9": "Parts", None: None}
ENOUGH = st.sampled_from([Enough(2, 1), Enough(2, 2), Enough(3, 2, days=100), Enough(2, 1, season_days=182)])
EVERY = [
    wanted(customer, item, FAMILY[item], region=region, line_id=f"w{number}")
    for number, (customer, item, region) in enumerate(
        itertools.product(["c1", "c9", None], ["A1", "A9", None], ["UK", "EU", None])
    )
]


def as_history(lines: list[Any]) -> pl.DataFrame:
    rows = [
        (f"l{number}", f"d{document}", day, customer, item, FAMILY[item], region, *code)
        for number, (customer, item, region, code, day, document) in enumerate(lines)
    ]
    return pl.DataFrame(rows, schema=dict(HISTORY), orient="row")


def infer_every(past: pl.DataFrame, **settings: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Give each line that may be wanted with what is said of it."""
    frame = pl.DataFrame(EVERY, schema=dict(WANTED))
    found = infer_codes(frame, past, **{"since": SINCE, **settings})
    assert found["line_id"].equals(frame["line_id"])
    return list(zip(EVERY, found.iter_rows(named=True), strict=True))


def at_level(past: pl.DataFrame, one: dict[str, Any], level: str) -> list[dict[str, Any]]:
    keys, _ = SHARED[level]
    if one["region"] is None:
        keys = keys - {"region"}  # all regions have to agree
    return [
        row
        for row in past.iter_rows(named=True)
        if row["date"] >= SINCE and all(row[key] == one[key] for key in keys)
    ]


@given(HISTORIES, ENOUGH)
@settings(max_examples=60)
def test_only_unanimous_and_sufficient_history_decides(lines: list[Any], enough: Enough) -> None:
    past = as_history(lines)
    for one, found in infer_every(past, enough=enough):
        if found["how"] == "asked":
            assert (found["account"], found["tax"], found["draft"]) == (None, None, False)
            assert found["reason"]
            continue
        code, rows = (found["account"], found["tax"]), at_level(past, one, found["by"])
        for level in list(SHARED)[: list(SHARED).index(found["by"]) + 1]:
            assert {(row["account"], row["tax"]) for row in at_level(past, one, level)} <= {code}
        assert (found["support"], found["agreement"], found["draft"]) == (len(rows), 1, True)
        assert len({row["document_id"] for row in rows}) >= enough.documents
        assert max(row["date"] for row in rows) >= DAY - timedelta(enough.days)
        for column in SHARED[found["by"]][1]:
            assert len({row[column] for row in rows}) >= enough.spread


@given(HISTORIES, st.lists(LINES, min_size=1, max_size=4), ENOUGH, st.integers(0))
@settings(max_examples=80)
def test_more_history_that_agrees_never_turns_a_decision_into_a_question(
    lines: list[Any], more: list[Any], enough: Enough, pick: int
) -> None:
    decided = [each for each in infer_every(as_history(lines), enough=enough) if each[1]["how"] == "inferred"]
    event(f"decided: {bool(decided)}")
    if not decided:
        return
    one, before = decided[pick % len(decided)]
    keys, _ = SHARED[before["by"]]
    agreeing = as_history(more).with_columns(
        pl.lit(before["account"]).alias("account"),
        pl.lit(before["tax"]).alias("tax"),
        *(pl.lit(one[key], pl.String).alias(key) for key in sorted(keys)),
        line_id=pl.col("line_id") + " more",
    )
    after = infer(pl.concat([as_history(lines), agreeing]), one, enough=enough)
    assert (after["account"], after["tax"], after["how"]) == (before["account"], before["tax"], "inferred")


@given(HISTORIES, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_past_lines_decides_nothing(lines: list[Any], chance: Any) -> None:
    past = as_history(lines)
    rows = past.rows()
    chance.shuffle(rows)
    assert infer_every(pl.DataFrame(rows, schema=dict(HISTORY), orient="row")) == infer_every(past)


@given(HISTORIES, ENOUGH)
@settings(max_examples=30)
def test_what_lies_beyond_the_horizon_does_not_count(lines: list[Any], enough: Enough) -> None:
    past = as_history(lines)
    assert infer_every(past, enough=enough) == infer_every(
        past.filter(pl.col("date") >= SINCE), enough=enough
    )


# --- Each level, and each trap

SOLD = """
    2025-11-25 c2 A1 Goods UK 200 OUTPUT2
    2026-05-01 c3 A1 Goods UK 200 OUTPUT2
    2026-07-01 c4 A1 Goods UK 200 OUTPUT2
"""
FAMILY_SOLD = """
    2026-03-01 c2 A2 Goods UK 200 OUTPUT2
    2026-05-01 c3 A3 Goods UK 200 OUTPUT2
    2026-07-01 c4 A4 Goods UK 200 OUTPUT2
"""


def test_an_item_decides_for_a_customer_who_never_bought_it() -> None:
    assert decided(SOLD) == ("200", "item")
    assert decided(SOLD, customer=None) == ("200", "item")


def test_a_family_decides_for_an_item_that_was_never_sold() -> None:
    assert decided(FAMILY_SOLD) == ("200", "family")


def test_too_little_asks() -> None:
    two = "\n".join(SOLD.strip().splitlines()[:2])
    assert decided(two) == (None, "too few past bookings of its family, or none of late")


def test_many_lines_of_few_invoices_are_few() -> None:
    one_invoice = ledger(SOLD).with_columns(document_id=pl.lit("d1"))
    assert infer(one_invoice, wanted())["how"] == "asked"


def test_one_customer_says_nothing_of_others_and_one_item_nothing_of_its_family() -> None:
    same = ledger(SOLD).with_columns(contact_id=pl.lit("c2"))
    assert infer(same, wanted())["how"] == "asked"
    assert infer(same, wanted(customer="c2"))["by"] == "item and customer"
    assert infer(ledger(SOLD), wanted(item="A9"))["how"] == "asked"


def test_a_thin_contrary_line_nearby_is_not_passed_over_for_a_unanimous_vaguer_level() -> None:
    """One line of the very item says otherwise than all that the customer ever had of the family."""
    habit = OTHERS + APART
    assert decided(habit) == ("210", "family and customer")
    told = "past bookings of its family and customer disagree"
    assert decided(habit + "2026-08-01 c5 A1 Goods UK 200 OUTPUT2") == (None, told)


def test_one_disagreeing_line_is_enough_to_ask() -> None:
    found = infer(ledger(SOLD + "2026-08-01 c5 A1 Goods UK 210 OUTPUT2"), wanted())
    assert (found["how"], found["by"], found["support"], found["agreement"]) == ("asked", "item", 4, 0.75)
    assert found["reason"] == "past bookings of its item disagree"


def test_another_tax_is_another_code_unless_the_tax_is_settled_already() -> None:
    past = ledger(SOLD + "2026-08-01 c5 A1 Goods UK 200 ZERORATEDOUTPUT")
    assert infer(past, wanted())["how"] == "asked"
    found = infer(past, wanted(), parts=("account",))
    assert (found["account"], found["tax"], found["how"]) == ("200", None, "inferred")


def test_another_region_says_nothing_of_this_one() -> None:
    eu = SOLD.replace("UK 200 OUTPUT2", "EU 200 ECOUTPUT")
    assert decided(SOLD + eu) == ("200", "item")
    assert infer(ledger(SOLD + eu), wanted(region="EU"))["tax"] == "ECOUTPUT"
    assert decided(eu)[0] is None


def test_an_item_that_was_sold_in_another_region_alone_is_not_taken_for_its_family() -> None:
    exception = "2026-08-01 c5 A1 Goods EU 210 ECOUTPUT"
    assert decided(FAMILY_SOLD + exception) == (None, "past bookings of its family disagree")


def test_where_the_region_is_not_known_all_have_to_agree() -> None:
    assert decided(SOLD, region=None) == ("200", "item")
    assert decided(SOLD + SOLD.replace("UK 200 OUTPUT2", "EU 200 ECOUTPUT"), region=None)[0] is None


def test_a_code_that_was_not_used_for_long_asks() -> None:
    sold = SOLD + "2026-03-20 c2 A1 Goods UK 200 OUTPUT2"
    assert decided(sold, date=date(2027, 3, 28)) == ("200", "item")
    assert decided(sold, date=date(2027, 3, 29))[0] is None


def test_an_item_that_was_not_sold_at_this_time_of_an_earlier_year_may_have_a_season() -> None:
    assert decided(SOLD.replace("2025-11-25", "2026-03-01")) == (None, OWN_WAYS)
    assert decided(SOLD.replace("2025-11-25", "2025-12-20")) == ("200", "item")
    assert decided(SOLD.replace("2025-11-25", "2025-12-21")) == (None, OWN_WAYS)


def test_a_season_that_shows_in_another_region_counts() -> None:
    assert decided(SOLD + "2025-11-10 c7 A1 Goods EU 200 ECOUTPUT") == ("200", "item")
    assert decided(SOLD + "2025-11-10 c7 A1 Goods EU 230 ECOUTPUT")[0] is None
    assert decided(SOLD + "2026-08-10 c7 A1 Goods EU 230 ECOUTPUT") == ("200", "item")


def test_lines_without_item_and_family_are_a_kind_of_their_own() -> None:
    free = SOLD.replace("A1 Goods UK 200", "- - UK 260")
    assert decided(SOLD + free, item=None, family=None) == ("260", "item")
    assert decided(SOLD + free) == ("200", "item")


def test_to_be_of_no_family_is_nothing_in_common() -> None:
    assert decided(FAMILY_SOLD.replace("Goods", "-"), item="A9", family=None)[0] is None


# A customer whose goods are booked to 210, where others' are booked to 200 in the same months.
OWN_WAY = """
    2025-11-02 c1 A1 Goods UK 210 OUTPUT2
    2026-05-02 c1 A1 Goods UK 210 OUTPUT2
    2026-07-02 c1 A1 Goods UK 210 OUTPUT2
"""


def test_a_customer_decides_against_the_item_where_others_differ_in_the_same_months() -> None:
    assert decided(SOLD + OWN_WAY) == ("210", "item and customer")


BY_TIME = (
    "past bookings of its item and customer don't decide: it may go by season, or be booked otherwise by now"
)
# The item goes to 230 in November; this customer bought it in other months alone, and three times.
SEASON = """
    2025-11-10 c2 A1 Goods UK 230 OUTPUT2
    2026-05-01 c1 A1 Goods UK 200 OUTPUT2
    2026-06-01 c1 A1 Goods UK 200 OUTPUT2
    2026-07-01 c1 A1 Goods UK 200 OUTPUT2
"""


def test_a_season_is_not_mistaken_for_a_customers_habit() -> None:
    assert decided(SEASON) == (None, BY_TIME)
    # Not even by its own line of three weeks before: books change by months.
    assert decided(SEASON + "2025-10-31 c1 A1 Goods UK 200 OUTPUT2")[0] is None
    # Its own line of last November shows that it goes by the customer after all.
    assert decided(SEASON + "2025-11-12 c1 A1 Goods UK 200 OUTPUT2") == ("200", "item and customer")


def test_a_new_code_is_not_mistaken_for_a_customers_habit() -> None:
    """Since August all others are booked to 230; this customer did not buy since."""
    changed = SEASON.replace("2025-11-10 c2 A1 Goods UK 230", "2025-11-10 c1 A1 Goods UK 200")
    changed += "2026-08-20 c2 A1 Goods UK 230 OUTPUT2\n"
    assert decided(changed) == (None, BY_TIME)
    assert decided(changed + "2026-08-05 c1 A1 Goods UK 200 OUTPUT2") == ("200", "item and customer")


LIKE_OTHERS = "past bookings of its {} don't decide: others are booked otherwise, " \
    "and nothing shows that it goes by the customer"  # fmt: skip
OTHERS = """
    2026-03-01 c2 A2 Goods UK 200 OUTPUT2
    2026-05-01 c2 A3 Goods UK 200 OUTPUT2
    2026-07-01 c2 A4 Goods UK 200 OUTPUT2
"""
APART = """
    2026-03-02 c1 A2 Goods UK 210 OUTPUT2
    2026-05-02 c1 A3 Goods UK 210 OUTPUT2
    2026-07-02 c1 A4 Goods UK 210 OUTPUT2
"""


def test_a_customer_who_is_booked_apart_decides_for_a_new_item_of_the_family() -> None:
    assert decided(OTHERS + APART) == ("210", "family and customer")


def test_others_who_differ_in_other_months_show_no_way_of_the_customers_own() -> None:
    later = OTHERS.replace("-03-", "-04-").replace("-05-", "-06-").replace("-07-", "-08-")
    assert decided(later + APART) == (None, LIKE_OTHERS.format("family and customer"))


def test_a_family_that_goes_by_item_does_not_decide_for_a_customer_booked_like_the_others() -> None:
    """All that this customer bought so far goes to 210, for everybody; other items of the family don't."""
    by_item = OTHERS.replace("UK 200", "UK 210") + APART + "2026-08-01 c3 A5 Goods UK 200 OUTPUT2"
    assert decided(by_item) == (None, LIKE_OTHERS.format("family and customer"))


def test_a_customer_who_is_booked_apart_everywhere_decides_for_what_is_new_to_the_books() -> None:
    spread = [("A2 Goods", "A2 One"), ("A3 Goods", "A3 Two"), ("A4 Goods", "A4 Three")]
    text = OTHERS + APART
    for old, new in spread:
        text = text.replace(old, new)
    assert decided(text) == ("210", "customer")
    alike = text.replace("UK 200", "UK 210")
    assert decided(alike) == (None, LIKE_OTHERS.format("customer"))


OWN_WAYS = "past bookings of its item don't decide: its customer is booked in ways of its own, or it may go by season"


def test_an_item_does_not_decide_for_a_customer_with_ways_of_its_own() -> None:
    assert decided(SOLD + OTHERS + APART) == (None, OWN_WAYS)
    elsewhere = (OTHERS + APART).replace("Goods", "Parts")
    assert decided(SOLD + elsewhere) == (None, OWN_WAYS)


# Five parts that this customer has like another one, in two accounts.
LIKE_ALL = "".join(
    f"2026-0{month}-1{day} {customer} B{month} Parts UK {240 + month % 2} OUTPUT2\n"
    for month in range(3, 8)
    for day, customer in enumerate(("c1", "c8"))
)


def test_a_quarter_of_a_customers_lines_that_stray_is_a_way_of_its_own() -> None:
    astray = "2026-08-01 c1 B3 Parts UK 210 OUTPUT2\n"
    assert decided(SOLD + LIKE_ALL + astray) == ("200", "item")
    assert decided(SOLD + LIKE_ALL + astray * 2) == (None, OWN_WAYS)


def test_one_line_of_the_family_that_strays_is_a_way_of_its_own() -> None:
    family = "2026-08-01 c8 A2 Goods UK 200 OUTPUT2\n2026-08-01 c1 A2 Goods UK {} OUTPUT2\n"
    assert decided(SOLD + LIKE_ALL + family.format(200)) == ("200", "item")
    assert decided(SOLD + LIKE_ALL + family.format(210)) == (None, OWN_WAYS)


def test_the_first_exception_to_what_a_customer_always_had_is_asked() -> None:
    always = APART.replace("Goods", "Parts")  # no other customer to compare with
    assert decided(SOLD + always) == (None, OWN_WAYS)
    assert decided(SOLD + always + "2026-07-05 c1 A7 Other UK 200 OUTPUT2") == ("200", "item")


def test_evidence_counts_codes_and_names_nobody() -> None:
    past = ledger(SOLD + "2026-08-01 c5 A1 Goods UK 210 OUTPUT2")
    found = infer(past, wanted())
    shown = [
        {"account": "200", "tax": "OUTPUT2", "lines": 3},
        {"account": "210", "tax": "OUTPUT2", "lines": 1},
    ]
    assert json.loads(found["evidence"]) == dict.fromkeys(("item", "item in any region", "family"), shown)


def test_books_that_hold_nothing_alike_say_so() -> None:
    found = infer(ledger(SOLD), wanted(item="B1", family="Parts"))
    assert (found["by"], found["support"], found["evidence"]) == (None, 0, "{}")
    assert found["reason"] == "the books hold no line like it"
    assert infer(ledger(SOLD).clear(), wanted())["how"] == "asked"


# --- History out of raw invoices

FAMILIES = pl.DataFrame({"item": ["A1", "B2", "B2"], "family": ["Goods", "Goods", "Parts"]})
REGIONS = pl.DataFrame({"contact_id": ["c1"], "region": ["UK"]})


def invoice(name: str, *lines: Any, **fields: Any) -> dict[str, dict[str, Any]]:
    known = {
        "InvoiceID": name, "Type": "ACCREC", "Status": "PAID", "Contact": {"ContactID": "C1"},
        "Date": "/Date(1789344000000+0000)/", "LineItems": list(lines),
    }  # fmt: skip
    return {name: known | fields}


def item_line(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "LineItemID": name,
        "ItemCode": "A1",
        "AccountCode": "200",
        "TaxType": "OUTPUT2",
        "LineAmount": 1.5,
    } | fields


def read(*invoices: dict[str, Any], items: dict[str, Any] | None = None) -> pl.DataFrame:
    bodies: dict[str, Any] = {}
    for one in invoices:
        bodies |= one
    return history(raw_of(bodies), raw_of(items or {}), FAMILIES, REGIONS)


def test_a_line_is_read_with_its_family_and_region() -> None:
    assert read(invoice("i1", item_line("l1"))).rows() == [
        ("l1", "i1", date(2026, 9, 14), "c1", "A1", "Goods", "UK", "200", "OUTPUT2")
    ]


@pytest.mark.parametrize(
    "fields", [{"Status": "DRAFT"}, {"Status": "VOIDED"}, {"Status": "SUBMITTED"}, {"Type": "ACCPAY"}]
)
def test_only_approved_sales_are_history(fields: dict[str, Any]) -> None:
    assert read(invoice("i1", item_line("l1"), **fields)).is_empty()
    assert read(invoice("i1", item_line("l1"), Status="AUTHORISED")).height == 1


def test_lines_without_codes_and_invoices_without_lines_are_left_out() -> None:
    text = {"LineItemID": "l2", "Description": "Thank you"}
    assert read(invoice("i1", item_line("l1"), text), invoice("i2"))["line_id"].to_list() == ["l1"]


def test_a_line_without_an_id_is_named_by_its_place() -> None:
    assert read(invoice("i1", item_line("l1"), item_line(None)))["line_id"].to_list() == ["l1", "i1:2"]


def test_an_item_that_was_renamed_keeps_its_history() -> None:
    renamed = {"x9": {"ItemID": "x9", "Code": "A1"}}
    found = read(invoice("i1", item_line("l1", ItemCode="OLD", Item={"ItemID": "X9"})), items=renamed)
    assert found.select("item", "family").rows() == [("A1", "Goods")]


def test_a_code_with_two_families_has_none_that_is_known() -> None:
    assert read(invoice("i1", item_line("l1", ItemCode="B2")))["family"].to_list() == [None]


def test_an_invoice_that_can_not_be_read_hides_no_other() -> None:
    odd = invoice("i2", LineItems="none")
    many = [invoice(f"n{number}", item_line(f"l{number}")) for number in range(5)]
    broken = raw_of({**many[0], **odd, **many[1], **many[2]}).with_columns(
        body=pl.when(pl.col("record_id") == "n1").then(pl.lit("{")).otherwise("body")
    )
    found = history(broken, raw_of({}), FAMILIES, REGIONS)
    assert found["line_id"].to_list() == ["l0", "l2"]


def test_ids_are_compared_without_regard_to_case_and_deleted_rows_do_not_count() -> None:
    bodies = invoice("I1", item_line("l1")) | invoice("i2", item_line("l2"))
    raw = raw_of(bodies).with_columns(deleted=pl.col("record_id") == "i2")
    found = history(raw, raw_of({}), FAMILIES, REGIONS)
    assert found.select("document_id", "contact_id", "region").rows() == [("i1", "c1", "UK")]
