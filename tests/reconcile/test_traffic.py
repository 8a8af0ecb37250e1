"""How many bytes a plan is said to move: by hand for small plans, and by the writers' own bytes for what is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_price import creating, frame, operation

from pipelines.intents import Operation, group, resolve
from pipelines.salesforce import writer as salesforce_writer
from pipelines.settings import Push
from pipelines.xero import writer as xero_writer
from reconcile.bodies import dumps
from reconcile.model import OPERATIONS, RAW, SIDES
from reconcile.price import PURPOSES, Terms
from reconcile.traffic import (
    ANSWERED_CALL,
    LISTED_CALL,
    after_done,
    billed,
    exchanges,
    learned,
    recent_rows,
    row_weights,
    salesforce_row,
    summed,
    traffic,
)

TERMS = Terms(history="none")
SEEN = datetime(2026, 11, 30, 9, tzinfo=UTC)
GUID = "c1887289-9456-526f-b313-cf58ec00ace3"
ACCOUNT = "001Dm0000000007IAA"


def of(rows: pl.DataFrame, terms: Terms = TERMS, **given: Any) -> dict[tuple[str, str], float]:
    """What is received by (object, purpose); what all calls carry is left out."""
    moved = exchanges(rows, terms, given.get("weights", {}), given.get("recent", {})).drop_nulls("object")
    sums = moved.group_by("object", "purpose").agg(pl.col("received").sum()).filter(pl.col("received") > 0)
    return {(name, purpose): received for name, purpose, received in sums.iter_rows()}


# --- What is sent


def sent_by_the_writers(rows: pl.DataFrame) -> dict[str, int]:
    """The bytes of the bodies that the push makes of the operations, every id that they wait for put in."""
    found = dict.fromkeys(SIDES, 0)
    ids = {row["operation_id"]: ACCOUNT if row["system"] == "salesforce" else GUID for row in rows.to_dicts()}
    told = {"Status": "DRAFT"}
    made = [
        resolve(Operation.from_row(row), ids, lambda _, name: told.get(name, "SF-006DM0000000007IAA"))
        for row in rows.iter_rows(named=True)
    ]
    intents, _ = group(
        made, apart=frozenset(), key_fields={}, attempts=dict.fromkeys(ids, 0), new_id=lambda: "x"
    )
    for side, writer in (("salesforce", salesforce_writer), ("xero", xero_writer)):
        for request in writer.requests([one for one in intents if one.system == side], Push()):
            if side == "salesforce":
                request = salesforce_writer.guarded(request, "/services/data/v67.0/", lambda *_: SEEN)
            found[side] += len(request.body)
    return found


texts = st.text('aé"\\ 1', max_size=12)
bodies = st.dictionaries(st.sampled_from(["Name", "Phone", "EmailAddress"]), texts, min_size=1, max_size=3)
REFERS = {"$from": "xero0"}
references = st.sampled_from(
    [
        REFERS,
        {**REFERS, "suffix": ":primary"},
        {**REFERS, "field": "Status"},
        {**REFERS, "prefix": "https://x/"},
    ]
)


@st.composite
def plans(draw: st.DrawFn) -> pl.DataFrame:
    """Some records of both sides, made, linked and changed, in several pieces."""
    rows = [creating(0, object="Contact", native_after=dumps({"Name": "it is referred to"}))]
    for n in range(draw(st.integers(0, 60))):
        side = draw(st.sampled_from(SIDES))
        record_id = f"001{n:012}AAA" if side == "salesforce" else f"{n:08}-0000-4000-8000-000000000000"
        if draw(st.booleans()):
            rows.append(creating(n + 100, side, native_after=dumps(draw(bodies))))
            continue
        pieces = draw(st.lists(bodies, min_size=1, max_size=2))
        taken: set[str] = set()
        for place, body in enumerate(pieces):
            kept = {name: value for name, value in body.items() if name not in taken}
            taken |= set(kept)
            if kept:
                given = {"record_id": record_id, "unit": f"unit{place}", "native_after": dumps(kept)}
                rows.append(operation(n * 10 + place + 1000, side, **given))
        if side == "salesforce" and not draw(st.booleans()):
            after = dumps({"Xero_Id__c": draw(references)})
            rows.append(
                operation(
                    n + 9000,
                    side,
                    record_id=f"001{n:012}BBB",
                    unit="reference",
                    action="link",
                    native_after=after,
                )
            )
    return frame(*rows)


@given(plans())
def test_what_is_said_to_be_sent_is_what_the_writers_send(rows: pl.DataFrame) -> None:
    said, sends = traffic(rows, TERMS, {}, {}), sent_by_the_writers(rows)
    for side in SIDES:
        # Of what is guarded a record's place has one digit or two, and a request another envelope.
        guarded = 0 if side == "xero" else rows.filter(pl.col("action") == "update").height + 4
        assert abs(said[side]["sent"] - sends[side]) <= 2 * guarded, (said, sends)


def test_ids_of_what_is_made_meanwhile_are_sent_in_their_length() -> None:
    shown = dict.fromkeys(("A__c", "B__c"), REFERS) | {"C__c": {**REFERS, "field": "Status"}}
    row = operation(
        1, "salesforce", record_id=ACCOUNT, unit="reference", action="link", native_after=dumps(shown)
    )
    rows = frame(creating(0, native_after='{"Name":"x"}'), row)
    assert traffic(rows, TERMS, {}, {})["salesforce"]["sent"] == sent_by_the_writers(rows)["salesforce"]


# --- What comes


def test_nothing_moves_nothing() -> None:
    none = {"sent": 0, "received": 0}
    assert traffic(frame(), TERMS, {}, {}) == {"salesforce": none, "xero": none}


def test_a_record_of_xero_is_shown_by_the_reply_to_its_write_and_read_again() -> None:
    rows = [operation(n, native_before='{"Name":"x"}', native_after='{"Name":"xyz"}') for n in range(100)]
    found = of(frame(*rows), weights={"xero.Contact": 1000.0})
    assert found == {("Contact", "write"): 100 * (1002 + 68), ("Contact", "read_again"): 100 * 1002}


def test_each_history_is_a_reply_of_its_own() -> None:
    rows = frame(*[operation(n) for n in range(10)])
    with_history, without = (traffic(rows, terms, {}, {})["xero"]["received"] for terms in (Terms(), TERMS))
    assert with_history - without == 10 * 500


def test_a_contact_that_was_never_written_by_the_api_gains_its_blank_fields() -> None:
    body = json.dumps({"ContactID": GUID, "Phones": [{"PhoneType": "DDI", "PhoneNumber": "1"}]})
    weights = row_weights({"xero.Contact": raw(body)}, frame(), {}, {})
    blanks = (
        '"BankAccountDetails":"",' + '"PhoneNumber":"",' * 3 + '"PhoneAreaCode":"","PhoneCountryCode":"",' * 4
    )
    blanks += '"City":"","Region":"","PostalCode":"","Country":"",' * 2
    assert weights["xero.Contact"] == len(body) + 1
    assert weights["xero.Contact.written"] == len(body) + 1 + len(blanks)


def test_salesforce_is_asked_for_what_it_wrote_and_once_more_at_the_end() -> None:
    before, after = '{"Phone":null}', '{"Phone":"020 7946 0000"}'
    linked = {"unit": "reference", "action": "link"}
    row = operation(1, "salesforce", native_before=before, native_after=after, **linked)
    found = of(frame(row), weights={"salesforce.Account": 800.0})
    grown = len(after) - len(before)
    assert found["Account", "read_back"] == found["Account", "read_again"] == 800 + grown
    assert found["Account", "write"] == len(f'{{"id":"{ACCOUNT}","success":true,"errors":[]}},')


def test_a_new_document_weighs_what_is_sent_what_its_vendor_adds_and_its_contact_in_the_reply() -> None:
    line = '{"LineItems":[{"UnitAmount":1},{"UnitAmount":2}]}'
    rows = [
        creating(n, object="Invoice", entity="document", source_id=f"006{n}", native_after=line)
        for n in range(10)
    ]
    weights = {"salesforce.Opportunity": 500.0, "xero.Contact.written": 900.0}
    found = of(frame(*rows), weights=weights)
    row = len(line) + 2 * 300 + 750
    assert found["Invoice", "read_again"] == 10 * row
    assert found["Invoice", "write"] == 10 * (row + 900 - 200 + 2 * 22)
    assert found["Opportunity", "look"] == 10 * 500  # what they are made from is read before


def test_what_changed_of_late_is_listed_again_at_its_own_weight() -> None:
    rows = frame(operation(1))
    terms = Terms(history="none", before={("xero", "Contact"): 4, ("xero", "Invoice"): 9})
    weights = {"xero.Contact": 1000.0, "xero.Contact.recent": 700.0, "xero.Invoice": 2000.0}
    found = of(rows, terms, weights=weights, recent={"xero.Contact": 7, "xero.Invoice": 9})
    assert found["Contact", "look"] == 7 * 700
    # And those that the run before made are read again.
    assert found["Contact", "read_again"] == (1 + 4) * 1000
    assert found["Invoice", "read_again"] == 9 * 2000


def test_looks_that_are_renewed_list_what_was_written_meanwhile() -> None:
    rows = frame(*[operation(n) for n in range(180 * 50)])
    assert of(rows, weights={"xero.Contact": 1000.0})["Contact", "look"] == 4 * 1000 * 4500


def raw(*bodies: str, at: datetime = SEEN) -> pl.DataFrame:
    rows = [
        {"record_id": f"x{n}", "modified_at": at, "deleted": False, "row_hash": "", "body": body}
        for n, body in enumerate(bodies)
    ]
    return pl.DataFrame(rows, schema=dict(RAW))


def test_of_salesforce_only_what_is_asked_for_is_weighed() -> None:
    body = {"attributes": {"type": "Account"}, "Name": "Élan", "Phone": None, "Industry": "x" * 500}
    found = row_weights(
        {"salesforce.Account": raw(json.dumps(body))}, frame(), {"Account": ["Name", "Phone"]}, {}
    )
    around = f'{{"attributes":{{"type":"Account","url":"/services/data/v67.0/sobjects/Account/{ACCOUNT}"}}'
    shown = around + ',"Name":"Élan","Phone":null},'
    assert found == {"salesforce.Account": len(shown.encode())}


def test_written_rows_are_weighed_by_themselves_and_so_are_recent_ones() -> None:
    rows = {
        "xero.Item": pl.concat(
            [raw("x" * 9), raw("x" * 99, at=SEEN.replace(hour=10)).with_columns(record_id=pl.lit("y"))]
        )
    }
    since = {"xero": SEEN.replace(hour=10)}
    found = row_weights(rows, frame(operation(1, object="Item", record_id="x0")), {}, since)
    assert found == {"xero.Item": 10.0, "xero.Item.recent": 100.0, "xero.Item.whole": 110.0}
    assert recent_rows(rows, since) == {"xero.Item": 1}


def test_what_the_plan_wrote_already_is_listed_again_and_no_more_than_there_is() -> None:
    done = frame(*[operation(n) for n in range(5)], operation(0, unit="fax", operation_id="more"))

    def found(recent: int, rows: pl.DataFrame) -> int:
        return after_done({}, {"xero.Contact": recent}, done, rows, {"xero.Contact": 9})[1]["xero.Contact"]

    assert [found(0, done), found(7, done), found(7, frame())] == [5, 9, 7]


def test_what_the_plan_wrote_already_is_heavier_by_that() -> None:
    before, after = '{"Phone":null}', '{"Phone":"020 7946 0000"}'
    done = [operation(n, "salesforce", native_before=before, native_after=after) for n in range(5)]
    whole = frame(*done, *[operation(n + 5, "salesforce") for n in range(5)])
    weights, _ = after_done({"salesforce.Account": 800.0}, {}, whole, frame(*done), {})
    assert weights == {"salesforce.Account": 800 + (len(after) - len(before)) / 2}


# --- The sum, and what is learned

weights = st.fixed_dictionaries(
    {
        f"{side}.{name}": st.floats(1, 5000)
        for side, name in (("salesforce", "Account"), ("xero", "Contact"), ("xero", "Contact.written"))
    }
)


@given(plans(), weights, st.sampled_from(["all", "documents", "none"]))
def test_the_estimate_is_the_sum_of_its_exchanges_and_none_is_below_nothing(
    rows: pl.DataFrame, known: dict[str, float], history: str
) -> None:
    terms = Terms(history=history)
    moved = exchanges(rows, terms, known, {"xero.Contact": 3})
    assert set(moved["purpose"]) <= set(PURPOSES)
    assert moved.filter((pl.col("sent") < 0) | (pl.col("received") < 0)).is_empty()
    said = traffic(rows, terms, known, {"xero.Contact": 3})
    assert said == summed(moved)
    assert sum(one["received"] for one in said.values()) == pytest.approx(moved["received"].sum(), abs=2)


@given(plans(), weights, st.integers(1, 40))
def test_more_operations_never_move_less(rows: pl.DataFrame, known: dict[str, float], more: int) -> None:
    added = frame(*[operation(n + 50_000, native_after='{"Name":"more"}') for n in range(more)])
    fewer, all_of_them = (
        traffic(some, TERMS, known, {}) for some in (rows, pl.concat([rows, added]).select(list(OPERATIONS)))
    )
    assert all(all_of_them[side][way] >= fewer[side][way] for side in SIDES for way in ("sent", "received"))


CAME = st.tuples(st.integers(1, 5), st.integers(2_000, 10_000_000))


@given(CAME, CAME, CAME)
def test_a_push_like_the_last_one_is_said_to_move_what_that_one_moved(
    made: tuple[int, int], listed: tuple[int, int], changed: tuple[int, int]
) -> None:
    invoices = [
        creating(n, object="Invoice", entity="document", source_id=f"006{n}", native_after="{}")
        for n in range(20)
    ]
    rows = frame(*invoices, *[operation(n + 100) for n in range(30)])
    known = {"xero.Contact": 1000.0}
    first = exchanges(rows, TERMS, known, {})
    met = {"xero.Invoice.made": made, "xero.Invoice.listed": listed, "xero.Contact.changed": changed}
    off = {key: a_row for key, (a_row, _) in learned(first, met, known, {}).items()}
    assert off.keys() == met.keys()
    second = exchanges(rows, TERMS, known | off, {})
    for key, (calls, came) in met.items():
        _, name, kind = key.split(".")
        said = second.filter(pl.col("object") == name, pl.col("kind") == kind)["received"].sum()
        around = calls * len((LISTED_CALL if kind == "listed" else ANSWERED_CALL)["xero"])
        assert said == pytest.approx(came - around, abs=1)  # rounded to a hundredth a row
    # Learned again of the same it stays.
    again = learned(second, met, known | off, {})
    assert all(again[key][0] == pytest.approx(off[key], abs=0.02) for key in off)


def test_what_is_learned_of_few_rows_moves_what_many_have_taught_a_little() -> None:
    rows = frame(*[operation(n) for n in range(10)])
    moved = exchanges(rows, TERMS, {"xero.Contact": 1000.0}, {})
    met = {"xero.Contact.changed": (0, 0)}
    before = {"xero.Contact.changed": (50.0, 990)}
    assert learned(moved, met, {}, before) == before  # nothing came
    met = {"xero.Contact.changed": (1, len(ANSWERED_CALL["xero"]) + 10 * (1000 + 68 + 150))}
    off, seen = learned(moved, met, {}, before)["xero.Contact.changed"]
    assert (off, seen) == (pytest.approx(51), 1000)


def test_long_ago_counts_no_more_than_a_thousand_rows() -> None:
    rows = frame(*[operation(n) for n in range(1000)])
    moved = exchanges(rows, TERMS, {"xero.Contact": 1000.0}, {})
    met = {"xero.Contact.changed": (1, len(ANSWERED_CALL["xero"]) + 1000 * (1000 + 68 + 150))}
    before = {"xero.Contact.changed": (50.0, 80_000)}
    assert learned(moved, met, {}, before) == {"xero.Contact.changed": (100.0, 2000)}


def test_rows_of_new_records_teach_nothing_where_others_are_listed_with_them() -> None:
    rows = frame(creating(1, native_after="{}"), operation(2))
    met = {f"xero.Contact.{kind}": (1, 5000) for kind in ("made", "changed", "listed")}
    assert learned(exchanges(rows, TERMS, {}, {}), met, {}, {}).keys() == met.keys() - {"xero.Contact.listed"}
    # What the other side has under that name is not listed with them.
    rows = frame(creating(1, native_after="{}"), operation(2, "salesforce", object="Contact"))
    assert "xero.Contact.listed" in learned(exchanges(rows, TERMS, {}, {}), met, {}, {})


@pytest.mark.parametrize(
    ("received", "price", "amount"),
    [(0, "2.40", "0.00"), (1_000_000_000, "2.40", "2.40"), (5_000_000, "2.40", "0.01")],
)
def test_what_xero_sends_is_billed_by_the_gb(received: int, price: str, amount: str) -> None:
    assert billed(received, Decimal(price)) == Decimal(amount)


def test_a_row_of_salesforce_weighs_its_fields() -> None:
    assert salesforce_row(["Id", "Name"]) == salesforce_row([]) + 2 * 18 + 6
