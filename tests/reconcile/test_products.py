"""Products without a server: what is the same, what is whose price, what is made, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapped_records import mapping

from reconcile import model
from reconcile.errors import WrongMapping
from reconcile.mapped import Mapping
from reconcile.match import match
from reconcile.merge import merge
from reconcile.native import Limits, native_of, unfit
from reconcile.normalise import Canonical, canonicalise
from reconcile.plan import Plan, build_plan, part_of, with_dependents, without_unneeded
from reconcile.prices import in_price_book

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
STANDARD, TRADE = "01s000000000001AAA", "01s000000000002AAA"
Body = dict[str, Any]
IDS = ("Id", "ItemID", "OrganisationID")
NO_LIMITS = Limits({}, {}, frozenset())


@cache
def products(more: str = "") -> Mapping:
    return mapping(f"extends: [products]\n{more}")


def product_id(number: int) -> str:
    return f"01t{number:012d}AAA"


def item_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def product(number: int, code: str | None, name: str = "", **fields: Any) -> Body:
    names = products().fields("salesforce")["Product2"]
    own = {
        "Id": product_id(number),
        "ProductCode": code,
        "Name": name or f"Product {number}",
        "IsActive": True,
    }
    return {**dict.fromkeys(sorted(names)), "IsDeleted": False, **own, **fields}


def entry(number: int, of: int, price: Any, **fields: Any) -> Body:
    own = {"Id": f"01u{number:012d}AAA", "Product2Id": product_id(of), "UnitPrice": price}
    return {"IsDeleted": False, "Pricebook2Id": STANDARD, **own, **fields}


def item(number: int, code: str, name: str = "", **fields: Any) -> Body:
    own = {"ItemID": item_id(number), "Code": code, "Name": name or f"Item {number}", "IsSold": True}
    return {**own, "IsPurchased": False, "IsTrackedAsInventory": False, "SalesDetails": {}, **fields}


# More digits than a double holds.
EXACT, DIGITS = "exact", "999999999999.12345"


def text(body: Body) -> str:
    return json.dumps(body).replace(f'"{EXACT}"', DIGITS)


def raw(*bodies: Body) -> pl.DataFrame:
    rows = [
        (next(body[name] for name in IDS if name in body), NOW, False, "h", text(body)) for body in bodies
    ]
    return pl.DataFrame(rows, schema=dict(model.RAW), orient="row")


BOOKS = (
    {"Id": STANDARD, "Name": "Standard Price Book", "IsStandard": True, "IsDeleted": False},
    {"Id": TRADE, "Name": "Trade", "IsStandard": False, "IsDeleted": False},
)


def read(bodies: list[Body], entity: str, side: str, of: Mapping) -> Canonical:
    mapped = of.entities[entity]
    found = canonicalise(raw(*bodies), mapped, side, observed=mapped.fields(side), region="GB")
    if (entity, side) != ("price", "salesforce"):
        return found
    around = {
        "salesforce.Pricebook2": raw(*BOOKS),
        "xero.Organisation": raw({"OrganisationID": "o", "BaseCurrency": "GBP"}),
    }
    return in_price_book(found, {**around, "salesforce.PricebookEntry": raw(*bodies)}, mapped)


def plan(
    here: list[Body],
    there: list[Body],
    prices: tuple[Body, ...] = (),
    *,
    needed: frozenset[str] = frozenset(),
    of: Mapping | None = None,
) -> Plan:
    of = of or products()
    parts, links = [], None
    for name, entity in of.entities.items():
        sides = {
            "salesforce": read(list(prices) if name == "price" else here, name, "salesforce", of),
            "xero": read(there, name, "xero", of),
        }
        records, values = (
            pl.concat([getattr(sides[side], what) for side in model.SIDES]) for what in ("records", "values")
        )
        matches = match(
            records,
            values,
            model.empty(model.LINKS),
            model.empty(model.DECISIONS),
            entity=name,
            parents=links,
        )
        links = matches.links
        bases = model.empty({**model.BASES, "value": pl.String})
        merged = merge(entity, matches.links, records, values, bases, model.empty(model.DECISIONS))
        parts.append(part_of(entity, sides["salesforce"], sides["xero"], matches, merged))
    nothing = model.empty(model.FIELDS)
    return build_plan(parts, nothing, model.empty(model.DECISIONS), frozenset(), needed)


def linked(found: Plan) -> list[tuple[str, str]]:
    ids = found.operations.filter(pl.col("phase") == "link").select("record_id", "source_id")
    return sorted(ids.rows())


def made(found: Plan) -> dict[str, Body]:
    rows = found.operations.filter(pl.col("action") == "create").select("source_id", "native_after")
    return {source: json.loads(native) for source, native in rows.iter_rows()}


# --- what is the same -----------------------------------------------------------------------------------


def test_products_are_linked_by_a_code_that_nobody_else_of_their_side_has() -> None:
    found = plan(
        [
            product(1, " A-1 "),
            product(2, "b"),
            product(3, "C"),
            product(4, "c"),
            product(5, "D"),
            product(6, "D"),
        ],
        [item(1, "A-1"), item(2, "B"), item(3, "C"), item(5, "D")],
    )
    assert linked(found) == [(product_id(n), item_id(n)) for n in (1, 2, 3)]
    asked = found.review.select("salesforce_id", "rule").sort("salesforce_id").rows()
    assert asked == [(product_id(5), "code"), (product_id(6), "code")]


def test_two_items_that_differ_in_case_alone_are_told_apart_by_the_letter() -> None:
    found = plan(
        [product(1, "x"), product(2, "X"), product(3, "y")], [item(1, "x"), item(2, "X"), item(3, "Y")]
    )
    assert linked(found) == [(product_id(n), item_id(n)) for n in (1, 2, 3)]
    found = plan([product(3, "y")], [item(1, "Y"), item(2, "yY"), item(4, "y ")])
    assert linked(found) == [(product_id(3), item_id(4))]


def test_a_name_alone_only_proposes() -> None:
    found = plan([product(1, None, "Hose")], [item(1, "H", "hose")])
    assert found.operations.is_empty()
    assert found.review.select("salesforce_id", "xero_id", "rule").rows() == [
        (product_id(1), item_id(1), "name")
    ]


codes = st.lists(st.sampled_from(["a", "A", "b", "B ", "c", None]), max_size=5)


@given(codes, codes)
def test_a_link_joins_equal_codes_and_never_two_records_of_one_side(
    ours: list[Any], theirs: list[Any]
) -> None:
    there = sorted({code.strip() for code in theirs if code})
    found = plan(
        [product(n, code) for n, code in enumerate(ours, 1)], [item(n, c) for n, c in enumerate(there, 1)]
    )
    pairs = linked(found)
    assert len({here for here, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
    for here, other in pairs:
        mine, theirs_code = ours[int(here[3:15]) - 1], there[int(other[-12:]) - 1]
        assert mine.strip().lower() == theirs_code.lower()


# --- prices ---------------------------------------------------------------------------------------------


def test_a_price_is_that_of_the_book_and_currency_and_exact() -> None:
    sale = {"SalesDetails": {"UnitPrice": EXACT}}
    here = [product(1, "A")]
    prices = (
        entry(1, 1, 5, CurrencyIsoCode="GBP"),
        entry(2, 1, 6, CurrencyIsoCode="USD"),
        entry(3, 1, 7, Pricebook2Id=TRADE),
    )
    found = plan(here, [item(1, "A", **sale)], prices)
    rows = (
        found.drift.filter(pl.col("entity") == "price").select("salesforce_id", "salesforce", "xero").rows()
    )
    assert rows == [("01u000000000001AAA", "5", DIGITS)]
    trade = products("entities: {price: {salesforce: {price_book: Trade}}}")
    found = plan(here, [item(1, "A", **sale)], prices, of=trade)
    assert found.drift.filter(pl.col("entity") == "price")["salesforce"].to_list() == ["7"]


def test_a_book_that_is_not_there_is_told_and_prices_nothing() -> None:
    gone = products("entities: {price: {salesforce: {price_book: Retail}}}")
    found = read([entry(1, 1, 5)], "price", "salesforce", gone)
    assert not found.records["in_scope"].any()
    assert found.rejects["reason"].to_list() == [
        "no price is compared: found 0 in Salesforce, expected one price book 'Retail'"
    ]


def test_what_is_not_sold_tells_no_sale() -> None:
    found = read([item(1, "A", IsSold=False)], "product", "xero", products())
    seen = found.values.filter("observed")["unit"].to_list()
    assert set(seen) == {"code", "name", "active"}


prices_of = st.decimals("0", "999999", places=4, allow_nan=False, allow_infinity=False)


@given(prices_of)
def test_a_price_that_is_written_reads_back_as_the_same(price: Any) -> None:
    entity = products().entities["price"]
    unit, text = entity.unit("sales_price"), f"{price.normalize():f}"
    for side, path in (("xero", "SalesDetails"), ("salesforce", None)):
        piece = native_of(text, unit, side, onto=None)
        body = json.loads(piece)
        kind = item(1, "A", **body) if path else entry(1, 1, 0, **body)
        read_back = read([kind], "price", side, products()).values["value"].to_list()
        assert read_back == [text]
        assert (unfit(piece, unit, side, limits=NO_LIMITS) is None) == (
            bool(path) or price == round(price, 2)
        )


# --- what is made ---------------------------------------------------------------------------------------


def test_an_item_is_made_on_demand_only_with_its_price_and_short_code() -> None:
    long = "CABLE-ASSEMBLY/CAT6A/SHIELDED/305M/GREY"
    here = [product(1, long, "Cable", Account_Code__c="200"), product(2, "B")]
    assert made(plan(here, [])) == {}
    found = plan(here, [], (entry(1, 1, 410.5),), needed=frozenset({product_id(1)}))
    assert made(found) == {
        product_id(1): {
            "Code": "CABLE-ASSEMBLY/CAT6A/~3C8099CB",
            "Name": "Cable",
            "SalesDetails": {"AccountCode": "200", "UnitPrice": 410.5},
        }
    }
    back = found.operations.filter(pl.col("action") == "link")
    assert back.select("system", "record_id").rows() == [("salesforce", product_id(1))]


def test_codes_that_collide_are_told_and_not_made() -> None:
    always = products("entities: {product: {create: {xero: always}}}")
    found = plan(
        [product(1, "A"), product(2, "a"), product(3, "B"), product(4, "B"), product(5, None)],
        [item(3, "B"), item(4, "b")],
        of=always,
    )
    assert made(found) == {}
    told = dict(found.rejects.select("record_id", "reason").iter_rows())
    assert "Xero takes each code once" in told[product_id(1)] == told[product_id(2)]
    assert "needs Code" in told[product_id(5)]


def test_what_names_a_record_that_is_not_made_goes_with_it() -> None:
    rows = [
        {"operation_id": "i", "entity": "product", "native_after": "{}"},
        {"operation_id": "n", "entity": "product", "native_after": '{"A":{"$from":"i"}}', "depends_on": "i"},
        {"operation_id": "d", "entity": "document", "native_after": '{"L":[{"$from":"i","field":"Code"}]}'},
        {"operation_id": "o", "entity": "document", "native_after": "{}"},
    ]
    operations = model.conform(pl.DataFrame(rows), model.OPERATIONS)
    assert with_dependents(operations, ["i"]) == {"i", "n", "d"}
    assert without_unneeded(operations, frozenset({"i"})).height == 4
    left = without_unneeded(operations.filter(pl.col("operation_id") != "d"), frozenset({"i"}))
    assert left["operation_id"].to_list() == ["o"]


# --- the mapping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("entities: {product: {units: {code: null}}}", "as: item_code"),
        ("entities: {product: {create: {salesforce: ask}}}", "made by people there"),
        ("entities: {product: null}", "a price, and no product"),
        ("entities: {product: {xero: {reference: Name}}}", "no field for an id"),
        ("entities: {product: {salesforce: {price_book: Trade}}}", "a price book under product.salesforce"),
        (
            "entities: {product: {projections: {x: {salesforce: X__c, from: is_customer}}}}",
            "quantity_on_hand",
        ),
    ],
)
def test_a_mapping_of_products_that_can_not_hold_is_refused(more: str, said: str) -> None:
    with pytest.raises(WrongMapping, match=said):
        products(more)


def test_items_on_demand_need_a_product_that_may_be_made() -> None:
    on_demand = "documents: {invoice: {lines: {items: on_demand}}}\n"
    with pytest.raises(WrongMapping, match="items: on_demand"):
        mapping(f"extends: [default]\n{on_demand}")
    lines = mapping(f"extends: [default, products]\n{on_demand}").documents["invoice"].fields("salesforce")
    assert "Product2Id" in lines["OpportunityLineItem"]
