"""The file under a server: transactions, look-ups, the log's 'applied'; the clock and the dialect on it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import exact
from sandbox.clock import Clock, from_ms, to_ms
from sandbox.dialect import Dialect, Switch, UnknownSwitch, read_dialect
from sandbox.store import CURRENT_REQUEST, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def fail(store, write):
    with pytest.raises(ZeroDivisionError), store.transaction():
        write()
        raise ZeroDivisionError


def test_a_record_keeps_its_place_when_it_is_changed(store):
    for name in "abc":
        store.put("thing", name, {"n": 1})
    store.put("thing", "a", {"n": 2})
    assert list(store.items("thing")) == [("a", {"n": 2}), ("b", {"n": 1}), ("c", {"n": 1})]


def test_a_failed_transaction_leaves_nothing_and_a_failed_part_only_itself_out(store):
    fail(store, lambda: store.put("thing", "a", {}))
    with store.transaction():
        store.put("thing", "b", {})
        fail(store, lambda: store.put("thing", "c", {}))
    assert [name for name, _ in store.items("thing")] == ["b"]


def test_what_a_request_changed_stands_in_its_log_row_and_only_what_stayed(store):
    n = store.log_arrival(method="PUT", path="/x")
    token = CURRENT_REQUEST.set(n)
    with store.transaction():
        store.put("thing", "a", {})
        fail(store, lambda: store.put("thing", "b", {}))
        store.keep("token", "t", {})
    CURRENT_REQUEST.reset(token)
    (row,) = store.requests()
    assert (row["applied"], row["changes"]) == (True, [["create", "thing", "a"]])


def test_keys_follow_the_record_and_are_built_for_what_was_there_before(store):
    store.put("thing", "a", {"name": "x"})
    store.declare("thing", name=lambda body: body.get("name"))
    store.put("thing", "b", {"name": "x"})
    assert store.find("thing", "name", "x") == ["a", "b"]
    store.put("thing", "a", {"name": "y"})
    store.delete("thing", "b")
    assert (store.find("thing", "name", "x"), store.find("thing", "name", "y")) == ([], ["a"])


def test_a_look_up_is_by_index_and_never_a_scan(store):
    plan = store._rows(
        "explain query plan select keys.id from keys join records using (kind, id) "
        "where keys.kind = ? and name = ? and value = ? order by seq",
        ("a", "b", "c"),
    )
    assert not [row for row in plan if row[3].startswith("SCAN")]


def test_records_are_selected_by_stamp_and_life(store):
    for n in range(6):
        store.put("thing", str(n), {"n": n}, stamp=10 - n, live=n % 2 == 0)
    assert [body["n"] for body in store.select("thing", since=6, by_stamp=True)] == [4, 3, 2, 1, 0]
    assert [body["n"] for body in store.select("thing", live_only=True, limit=2, offset=1)] == [2, 4]
    assert store.count("thing", until=7, live_only=True) == 1


def test_clearing_keeps_logins_and_settings(store):
    store.put("thing", "a", {})
    store.keep("client", "c", {"secret": 1})
    store.keep("idempotency", "k", {})
    store.set_meta("port", 1)
    store.clear()
    assert (store.count("thing"), store.kept("idempotency", "k")) == (0, None)
    assert (store.kept("client", "c"), store.meta("port")) == ({"secret": 1}, 1)


def test_a_moved_clock_stays_moved(store):
    Clock(store).move(86400)
    ahead = Clock(store).now() - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < ahead < timedelta(hours=24, minutes=1)


def test_distinct_stamps_never_repeat(store):
    clock = Clock(store, distinct=True)
    stamps = [clock.stamp_ms() for _ in range(1000)]
    assert len(set(stamps)) == 1000


@given(st.integers(-(10**13), 10**13))
def test_milliseconds_survive_the_way_to_a_date_and_back(ms):
    assert to_ms(from_ms(ms)) == ms


SWITCHES = (Switch("colour", ("red", "blue"), "red", "unconfirmed", "the colour"),)


def test_a_dialect_has_defaults_and_keeps_what_is_chosen(store):
    dialect = Dialect(SWITCHES, store)
    assert dialect["colour"] == "red"
    dialect.choose(colour="blue")
    assert Dialect(SWITCHES, store)["colour"] == "blue"
    assert dialect.switches()[0]["value"] == "blue"


@pytest.mark.parametrize("wrong", [{"colour": "green"}, {"size": 1}])
def test_an_unknown_switch_or_value_is_told(store, wrong):
    with pytest.raises(UnknownSwitch, match="colour"):
        Dialect(SWITCHES, store).choose(**wrong)


@pytest.mark.parametrize(
    ("name", "text"),
    [("d.toml", '[xero]\nslot_write = "replace"'), ("d.json", '{"xero": {"slot_write": "replace"}}')],
)
def test_a_dialect_file_may_be_toml_or_json(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_dialect(tmp_path / name) == {"xero": {"slot_write": "replace"}}


amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15)
values = st.recursive(
    amounts | st.integers() | st.text() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_carries_every_number_exactly(value):
    text = exact.dumps({"value": value})
    json.loads(text)  # any other reader takes it for JSON too
    assert exact.loads(text) == {"value": value}


def test_a_number_keeps_its_places_and_a_text_that_looks_like_one_stays_a_text(store):
    body = {"amount": Decimal("24.10"), "text": "24.10", "large": Decimal("1E+3"), "n": 3}
    store.put("thing", "a", body)
    assert store.get("thing", "a") == body
    (text,) = store._connection.execute("select body from records").fetchone()
    assert text == '{"amount":24.10,"text":"24.10","large":1000,"n":3}'


def test_what_is_no_number_is_no_json():
    for text in ("NaN", "[Infinity]"):
        with pytest.raises(ValueError, match="no JSON"):
            exact.loads(text)
    with pytest.raises(TypeError):
        exact.dumps({"value": Decimal("NaN")})
