"""What a plan will cost in calls, reckoned by hand for small plans; the whole product's own count: test_price_kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from reconcile.model import OPERATIONS
from reconcile.price import Terms, calls, minutes, price

NO_HISTORY = Terms(history="none")


def operation(n: int, system: str = "xero", **given: Any) -> dict[str, Any]:
    row = {
        "operation_id": f"{system}{n}", "system": system, "entity": "party", "action": "update", "phase": "change",
        "object": "Contact" if system == "xero" else "Account", "record_id": f"{system[0]}{n}", "unit": "phone",
        "native_after": "{}",
    }  # fmt: skip
    return {**row, **given}


def creating(n: int, system: str = "xero", **given: Any) -> dict[str, Any]:
    return operation(
        n, system, **{"action": "create", "phase": "create", "record_id": None, "unit": "record", **given}
    )


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in OPERATIONS}, schema=dict(OPERATIONS)
    )


def of(*rows: dict[str, Any], terms: Terms = NO_HISTORY) -> dict[str, dict[str, int]]:
    found = price(frame(*rows), terms)
    return {side: {name: count for name, count in by.items() if count} for side, by in found.items()}


def test_nothing_costs_nothing() -> None:
    assert calls(price(frame(), NO_HISTORY)) == {"salesforce": 0, "xero": 0}


@pytest.mark.parametrize(("count", "writes"), [(1, 1), (50, 1), (51, 2), (100, 2), (101, 3)])
def test_fifty_records_of_xero_go_in_one_call_beside_the_look(count: int, writes: int) -> None:
    told = of(*(operation(n) for n in range(count)))["xero"]
    assert told == {"identity": 1, "look": 1, "write": writes, "read_again": 1}


@pytest.mark.parametrize(
    ("count", "guarded", "told"),
    [
        (25, True, {"write": 1, "read_back": 1}),
        (26, True, {"write": 2, "read_back": 2}),
        (26, False, {"write": 1, "read_back": 1}),
        (200, False, {"write": 1, "read_back": 1}),
        (201, False, {"write": 2, "read_back": 2}),
    ],
)
def test_salesforce_is_written_by_200_or_guarded_by_25_and_read_back(
    count: int, guarded: bool, told: dict[str, int]
) -> None:
    rows = [operation(n, "salesforce") for n in range(count)]
    found = of(*rows, terms=Terms(guarded=guarded))["salesforce"]
    assert found == {"identity": 1, "look": 1, "read_again": 1, **told}


def test_ids_and_what_shows_xero_are_nobodys_edit_and_go_unguarded() -> None:
    rows = [operation(n, "salesforce", unit="reference") for n in range(30)]
    rows += [operation(n, "salesforce", rule="projection here") for n in range(30, 60)]
    assert of(*rows)["salesforce"]["write"] == 1


@pytest.mark.parametrize(
    ("count", "write", "read_back"),
    [(1_999, 10, 10), (2_000, 5, 1), (10_000, 5, 5), (10_001, 10, 6)],
)
@pytest.mark.parametrize("what", [operation, creating])
def test_from_a_number_on_what_only_we_write_goes_as_jobs(
    what: Any, count: int, write: int, read_back: int
) -> None:
    given = {} if what is creating else {"unit": "reference", "action": "link"}
    rows = [what(n, "salesforce", **given) for n in range(count)]
    found = price(frame(*rows), NO_HISTORY)["salesforce"]
    assert (found["write"], found["read_back"]) == (write, read_back)


def test_what_people_edit_goes_as_no_job_however_much_it_is() -> None:
    rows = [operation(n, "salesforce") for n in range(2_500)]
    assert of(*rows)["salesforce"]["write"] == 100
    assert of(*rows, terms=Terms(guarded=False, history="none"))["salesforce"]["write"] == 13


def test_units_of_one_record_share_a_call_and_creates_go_apart() -> None:
    rows = [operation(n) for n in range(50)]
    twice = [*rows, *(row | {"operation_id": f"{row['operation_id']}b", "unit": "fax"} for row in rows)]
    assert of(*twice)["xero"]["write"] == 1
    assert of(operation(1), creating(2))["xero"]["write"] == 2


def test_what_depends_on_another_goes_a_wave_later() -> None:
    body = json.dumps({"ContactID": {"$from": "xero1"}}, separators=(",", ":"))
    alone = [creating(n, object="Invoice", entity="document", source_id=f"o{n}") for n in (3, 4)]
    assert of(creating(1), *alone)["xero"]["write"] == 2
    after = [{**alone[0], "native_after": body}, alone[1]]
    assert of(creating(1), *after)["xero"]["write"] == 3
    linked = operation(5, "salesforce", action="link", link_id="l", unit="reference", phase="link")
    assert of(linked, operation(6, "salesforce", link_id="l"))["salesforce"]["write"] == 2


def test_payments_go_one_by_one_and_their_records_are_looked_at_once_more() -> None:
    rows = [creating(n, object="Payment", entity="payment", source_id=f"m{n}") for n in range(3)]
    found = of(*rows)
    assert found["xero"] == {"identity": 1, "look": 1, "write": 3, "read_again": 1}
    assert found["salesforce"] == {"identity": 1, "look": 3}


def test_bills_go_by_fifty_and_their_records_are_looked_at_once_more() -> None:
    body = json.dumps({"InvoiceNumber": "4711 SF-B1"})  # an invoice of such a number would need no new look
    rows = [creating(n, object="Bill", entity="bill", source_id="b1", native_after=body) for n in range(60)]
    found = of(*rows)
    assert found["xero"] == {"identity": 1, "look": 1, "write": 2, "read_again": 2}
    assert found["salesforce"] == {"identity": 1, "look": 2}
    many = [creating(n, object="Bill", entity="bill", source_id=f"b{n}") for n in range(9000)]
    assert price(frame(*many), NO_HISTORY)["xero"]["look"] > 1  # it rests on a young one


def test_documents_are_held_against_their_sources_and_lines() -> None:
    rows = [creating(n, object="Invoice", entity="document", source_id=f"o{n}") for n in range(60)]
    found = of(*rows)
    assert found["xero"] == {"identity": 1, "look": 1, "write": 2, "read_again": 2}
    assert found["salesforce"] == {
        "identity": 1,
        "look": 3,
    }  # two requests' sources, and all lines that changed


def test_what_may_take_from_an_order_is_a_question_more() -> None:
    rows = [creating(n, object="Invoice", entity="document", source_id=f"o{n}") for n in range(60)]
    terms = replace(NO_HISTORY, reductions=("Order",))
    assert of(*rows, terms=terms)["salesforce"] == {"identity": 1, "look": 4}
    shown = operation(99, "salesforce", object="Order", entity="document", unit="reference", action="link")
    assert of(*rows, shown, terms=terms)["salesforce"]["look"] == 4  # it is looked at anyway


@pytest.mark.parametrize(("history", "read"), [("all", 4), ("documents", 2), ("none", 1)])
def test_the_history_of_what_was_updated_is_a_call_each(history: str, read: int) -> None:
    rows = [operation(n) for n in range(3)]
    rows[0] |= {"entity": "document"}
    assert of(*rows, terms=Terms(history=history))["xero"]["read_again"] == read


def test_no_history_is_read_where_only_our_own_id_is_written() -> None:
    rows = [operation(n, unit="reference", action="link", phase="link") for n in range(120)]
    assert of(*rows, terms=Terms(history="all"))["xero"] == {
        "identity": 1,
        "look": 1,
        "write": 3,
        "read_again": 1,
    }


def test_what_the_run_before_made_is_read_again_too() -> None:
    terms = Terms(history="none", before={("xero", "Contact"): 79, ("salesforce", "Account"): 1})
    found = of(creating(1), terms=terms)
    assert found["xero"]["read_again"] == 2
    assert found["salesforce"]["read_again"] == 1


def test_many_calls_outlast_a_look_and_xeros_minute() -> None:
    rows = [creating(n, object="Payment", entity="payment", source_id=f"m{n}") for n in range(180)]
    found = price(frame(*rows), NO_HISTORY)
    assert found["xero"]["look"] == 1 + 4
    assert minutes(found, NO_HISTORY) == pytest.approx(calls(found)["xero"] / 60)
    # Edits by fifty: a look that is renewed lists what was written in the minute and a half before it.
    rows = [operation(n) for n in range(180 * 50)]
    assert price(frame(*rows), NO_HISTORY)["xero"]["look"] == 1 + 4 * 5
    # What Xero takes once, and our ids, rest on the first look.
    numbered = [
        creating(
            n, object="Invoice", source_id=f"00x{n}Z", native_after=f'{{"InvoiceNumber": "SF-00X{n}Z-2"}}'
        )
        for n in range(180 * 50)
    ]
    ids = [operation(n, unit="reference", action="link", phase="link") for n in range(180 * 50)]
    for rows in (numbered, ids, [creating(n) for n in range(180 * 50)]):
        assert price(frame(*rows), NO_HISTORY)["xero"]["look"] == 1
    for body in (
        '{"Reference": "SF-1"}',
        '{"InvoiceNumber": "INV-1"}',
    ):  # a number that a person may take too
        taken = [creating(n, object="Invoice", source_id="1", native_after=body) for n in range(180 * 50)]
        taken = [row | {"source_id": f"00x{n}"} for n, row in enumerate(taken)]
        assert price(frame(*taken), NO_HISTORY)["xero"]["look"] == 1 + 4 * 5


def member(n: int, *, goes_in: bool, group: str = "1") -> dict[str, Any]:
    return operation(
        n, entity="membership", object="ContactGroup", unit="groups", operation_id=f"m{group}{n}",
        record_id=f"99999999-0000-4000-8000-00000000000{group}/{n}",
        native_after=json.dumps({"Member": goes_in}, separators=(",", ":")),
    )  # fmt: skip


def test_who_enters_a_contact_group_goes_by_fifties_who_leaves_alone_and_each_group_is_asked() -> None:
    rows = [member(n, goes_in=True) for n in range(51)]
    rows += [member(n, goes_in=False) for n in range(100, 103)]
    rows += [member(n, goes_in=True, group="2") for n in range(2)]
    # No History: a contact group has none.
    found = of(*rows, terms=Terms(history="all"))["xero"]
    assert found == {"identity": 1, "look": 2, "write": 2 + 3 + 1, "read_again": 2}
