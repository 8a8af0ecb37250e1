"""Says how many bytes a plan will move before anything is sent, and what Xero bills for its part.

Counted is what the wire counts: bodies as they go over the line, no headers. Each exchange carries rows of a certain
weight in a number of envelopes; the estimate is the sum. What is sent is known. A row weighs what it weighed when it
was pulled, and what the push adds to it; a new one what is sent of it, and what its vendor adds. By how much a row of
Xero's was off in the pushes before is added: the first has only the shapes that were recorded. Left out is what the
price of calls leaves out too, and what else changes after the snapshot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from reconcile.bodies import dumps, loads
from reconcile.mapped import SOURCE_OBJECTS
from reconcile.model import SIDES
from reconcile.price import (
    PRIMARY,
    Terms,
    price,
    records_of,
    relisted,
    renewed,
    requests_of,
    with_history,
)

GB: Final = 1_000_000_000
CENT: Final = Decimal("0.01")
EXCHANGES: Final = {
    "system": pl.String,
    "object": pl.String,  # null: what every call carries
    "purpose": pl.String,  # as in the price
    "kind": pl.String,  # of what is learned what it weighs: made, changed, listed, history; else null
    "rows": pl.Int64,
    "sent": pl.Float64,
    "received": pl.Float64,
}
REMEMBERED: Final = 1000  # rows
SAMPLE: Final = 200  # rows of Salesforce that are weighed by the fields that a push asks for

# What stands around a record, and around a call's records; where it is sent, and where it is shown.
ID: Final = "x" * 18
GUID: Final = "x" * 36
SENT_ROW: Final = {
    ("salesforce", "new"): '"attributes":{"type":""},,',
    ("salesforce", "known"): f'"attributes":{{"type":""}},"id":"{ID}",,',
    ("salesforce", "guarded"): (
        f'{{"method":"PATCH","url":"/services/data/v67.0/sobjects//{ID}","referenceId":"r10","httpHeaders":'
        '{"If-Unmodified-Since":"Mon, 30 Nov 2026 09:00:00 GMT"},"body":},'
    ),
    ("xero", "new"): ",",
    ("xero", "known"): f'"ID":"{GUID}",,',
}
SENT_CALL: Final = {"salesforce": '{"allOrNone":false,"records":[]}', "xero": '{"Contacts":[]}'}
ANSWERED_ROW: Final = {
    ("salesforce", "new"): f'{{"id":"{ID}","success":true,"errors":[],"created":true}},',
    ("salesforce", "known"): f'{{"id":"{ID}","success":true,"errors":[]}},',
    ("salesforce", "guarded"): '{"body":null,"httpHeaders":{},"httpStatusCode":204,"referenceId":"r10"},',
}
XERO_CALL: Final = (
    f'{{"Id":"{GUID}","Status":"OK","ProviderName":"An app of this name","DateTimeUTC":"/Date(1796045462346)/",'
    '"Contacts":[]}'
)
ANSWERED_CALL: Final = {"salesforce": "[]", "xero": XERO_CALL}
LISTED_CALL: Final = {
    "salesforce": '{"totalSize":200,"done":true,"records":[]}',
    "xero": XERO_CALL + '"pagination":{"page":1,"pageSize":1000,"pageCount":1,"itemCount":1000},',
}
IDENTITY: Final = {"salesforce": 250, "xero": 900}

# Of a job of Salesforce's: what its calls carry besides rows and names, beyond what stands around five calls; what a
# row has besides its values, as it is given, and as the result repeats it, which comes as it is, not compressed.
JOB_SENT: Final = {"new": 25, "known": -15}
JOB_RECEIVED: Final = {"new": 1_350, "known": 1_235}
JOB_ROW_SENT: Final = {"new": 1, "known": len(f"{ID},\n")}
JOB_ROW_TOLD: Final = {"new": len(f'"{ID}","true",\n'), "known": len(f'"{ID}","false","{ID}",\n')}

# What Xero adds to a new record beyond what was sent (ids, stamps, slots, sums), and to each of its lines.
ADDED: Final = {"Contact": 515, "Invoice": 750, "Bill": 750, "CreditNote": 750}
ADDED_ELSE: Final = 400
ADDED_TO_LINE: Final = 300
# What the reply to a write has beyond the row of a list. A document's shows its contact whole.
ANSWERED: Final = 68
ANSWERED_DOCUMENT: Final = -200
ANSWERED_LINE: Final = 22
DOCUMENTS: Final = ("Invoice", "Bill", "CreditNote")
HISTORY: Final = 500  # one record's, of two writes
# Xero shows the blank ones of a contact once its API wrote it, and before it does not: name -> slots. Recorded.
BLANKS: Final = {
    "BankAccountDetails": 1, "PhoneNumber": 4, "PhoneAreaCode": 4, "PhoneCountryCode": 4,
    "City": 2, "Region": 2, "PostalCode": 2, "Country": 2,
}  # fmt: skip
WRITTEN: Final = ".written"
RECENT: Final = ".recent"
WHOLE: Final = ".whole"
CONTACT: Final = "xero.Contact"
LISTED_WHOLE: Final = ("xero.Item",)

# What an operation writes of a record that another one makes: a field of it, or its id between two texts.
MADE_FIELDS: Final = {
    r'\{"\$from":"[^"]*","field":"Status"[^}]*\}': '"DRAFT"',
    r'\{"\$from":"[^"]*","field":[^}]*\}': f'"{"x" * 21}"',  # a number of ours
}
MADE_ID: Final = r'\{"\$from":"[^"]*"(?:,"prefix":"([^"]*)")?(?:,"suffix":"([^"]*)")?\}'
BLANK: Final = r'"\w+":(?:null|""),?'
NAME: Final = r'"\w+":'
LINE: Final = '"UnitAmount":'
SOURCES: Final = {one.prefix: name for name, one in SOURCE_OBJECTS.items()}
FIELD: Final = 18  # quotes, colon, comma, and what a field holds as a rule


def traffic(
    operations: pl.DataFrame, terms: Terms, weights: Mapping[str, float], recent: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Give, by side, the bytes sent and received by a push and by what is read again after it.

    Takes OPERATIONS; weights and recent: as `row_weights` and `recent_rows` give them.
    """
    return summed(exchanges(operations, terms, weights, recent))


def summed(moved: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Give the sums of EXCHANGES by side: sent, received."""
    ways = ("sent", "received")
    return {
        side: {way: round(moved.filter(pl.col("system") == side)[way].sum()) for way in ways}
        for side in SIDES
    }


def exchanges(
    operations: pl.DataFrame, terms: Terms, weights: Mapping[str, float], recent: Mapping[str, int]
) -> pl.DataFrame:
    """Give EXCHANGES: what is sent and received by object and purpose.

    weights: with what was learned, too: "side.object.kind" -> by how many bytes a row was off.
    """
    if operations.is_empty():
        return pl.DataFrame(schema=EXCHANGES)
    records = requests_of(records_of(operations, terms), terms)
    lots = _lots(operations, records, weights)
    found = [
        *_writes(lots, weights),
        *_looks(lots, records, terms, weights, recent),
        *_sources(records, terms, weights, recent),
        *_read_again(lots, records, terms, weights),
        *_envelopes(operations, records, terms),
    ]
    moved = pl.DataFrame(found, schema=EXCHANGES, orient="row")
    off = pl.format("{}.{}.{}", "system", "object", "kind").replace_strict(
        dict(weights), default=0.0, return_dtype=pl.Float64
    )
    corrected = pl.col("received") + pl.col("rows") * off.fill_null(0)
    return moved.with_columns(received=pl.max_horizontal(corrected, 0.0))


def learned(
    expected: pl.DataFrame,
    met: Mapping[str, tuple[int, int]],
    weights: Mapping[str, float],
    before: Mapping[str, Off],
) -> dict[str, Off]:
    """Give by how many bytes a row was off in the pushes so far, by "side.object.kind".

    Takes EXCHANGES of a push that went as it was priced; met: likewise named, the calls that it took and the bytes
    that came; weights: by which the exchanges were reckoned; before: what this gave at the last push, which counts as
    REMEMBERED rows at most. What lists show of new records is learned where they show no others.
    """
    found = dict(before)
    others = expected.filter(pl.col("purpose") == "read_again", pl.col("kind").is_null(), pl.col("rows") > 0)
    mixed = set(others.select("system", "object").iter_rows())
    sums = (
        expected.drop_nulls("kind")
        .group_by("system", "object", "purpose", "kind")
        .agg(pl.col("rows", "received").sum())
    )
    for system, name, purpose, kind, rows, received in sums.iter_rows():
        key = f"{system}.{name}.{kind}"
        calls, came = met.get(key, (0, 0))
        if not (rows and calls) or (kind == "listed" and (system, name) in mixed):
            continue
        around = 0 if kind == "history" else _around(system, purpose)
        off = (came - calls * around - received) / rows + weights.get(key, 0)
        known, seen = before.get(key, (0.0, 0))
        seen = min(seen, REMEMBERED)
        found[key] = round((known * seen + off * rows) / (seen + rows), 2), seen + rows
    return found


Off = tuple[float, int]  # bytes a row, rows
Exchange = tuple[str, str | None, str, str | None, int, float, float]


# --- What is written -------------------------------------------------------------------------------------


def _lots(
    operations: pl.DataFrame, records: pl.DataFrame, weights: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Give one lot an object, new or known: how many writes of how many records, and what one weighs afterwards."""
    bodies = (
        operations.with_columns(pl.col("system").cast(pl.String), sent=_sent())
        .group_by("system", "object", creates=pl.col("action") == "create")
        .agg(
            pieces=pl.len(),
            body=pl.col("sent").str.len_bytes().sum(),
            cells=_cells_bytes().sum(),
            values=pl.col("sent").str.count_matches(NAME).sum(),
            names=pl.col("sent").str.extract_all(NAME).list.join("").str.len_bytes().sum(),
            grown=(_shown_bytes("sent") - _shown_bytes("native_before")).sum(),
            lines=pl.col("sent").str.count_matches(LINE, literal=True).sum(),
        )
    )
    counted = records.group_by("system", "object", "creates").agg(
        pl.col("guarded", "edited", "by_job").sum(),
        jobs=pl.col("request").filter("by_job").n_unique(),
        writes=pl.len(),
        records=pl.col("record").n_unique(),
        fresh=pl.col("fresh").sum(),
        calls=pl.col("request").n_unique(),
        resting=pl.col("request").filter("resting").n_unique(),
    )
    lots = counted.join(bodies, on=["system", "object", "creates"], how="left", validate="1:1")
    return [
        {**lot, "after": _after(lot, weights), "lines": lot["lines"] / lot["records"]}
        for lot in lots.sort("system", "object", "creates").iter_rows(named=True)
    ]


def _after(lot: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    """Give what a row of a lot weighs once it is written."""
    name, count = f"{lot['system']}.{lot['object']}", lot["records"]
    known = weights.get(name + WRITTEN, weights.get(name))
    if known is not None and not lot["creates"]:
        # A document is known whole before, and changed line by line: as long as before, about.
        return known + (0 if lot["object"] in DOCUMENTS else lot["grown"] / count)
    if known is not None and lot["system"] == "salesforce":
        return known
    return (lot["body"] + ADDED_TO_LINE * lot["lines"]) / count + ADDED.get(lot["object"], ADDED_ELSE)


def _writes(lots: Iterable[Mapping[str, Any]], weights: Mapping[str, float]) -> Iterable[Exchange]:
    for lot in lots:
        system, name, writes = lot["system"], lot["object"], lot["writes"]
        kind, by_job = "new" if lot["creates"] else "known", lot["by_job"]
        kinds = {"guarded": lot["guarded"], kind: writes - lot["guarded"] - by_job}
        # The pieces of one record go as one body. Those of jobs are taken to be as long as the others.
        sent = (lot["body"] - lot["pieces"] + writes) * (writes - by_job) / writes
        sent += sum(
            (len(SENT_ROW[system, kind]) + (0 if (system, kind) == ("xero", "new") else len(name))) * rows
            for kind, rows in kinds.items()
            if rows
        )
        if system == "salesforce":
            answered = sum(len(ANSWERED_ROW[system, kind]) * rows for kind, rows in kinds.items())
            yield system, name, "write", None, by_job, *_by_job(lot, kind)
            yield system, name, "read_back", None, writes, 0, writes * lot["after"]
        else:
            answered = writes * (lot["after"] + _answered(lot, weights))
        kind = ("made" if lot["creates"] else "changed") if system == "xero" else None
        yield system, name, "write", kind, writes, sent, answered


def _by_job(lot: Mapping[str, Any], kind: str) -> tuple[float, float]:
    """Give what the jobs of a lot send and receive."""
    rows, writes = lot["by_job"], lot["writes"]
    cells, quotes, header = (
        lot["cells"] * rows / writes,
        2 * lot["values"] * rows / writes,
        lot["names"] / writes,
    )
    sent = cells + JOB_ROW_SENT[kind] * rows + (JOB_SENT[kind] + header) * lot["jobs"]
    told = cells + quotes + JOB_ROW_TOLD[kind] * rows + (JOB_RECEIVED[kind] + header) * lot["jobs"]
    return sent, told


def _answered(lot: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    """Give what Xero's reply shows of a record beyond the row of a list."""
    if lot["object"] not in DOCUMENTS:
        return ANSWERED
    contact = weights.get(CONTACT + WRITTEN, ADDED["Contact"])
    return contact + ANSWERED_DOCUMENT + ANSWERED_LINE * lot["lines"]


# --- What is looked at -----------------------------------------------------------------------------------


def _looks(
    lots: Iterable[Mapping[str, Any]],
    records: pl.DataFrame,
    terms: Terms,
    weights: Mapping[str, float],
    recent: Mapping[str, int],
) -> Iterable[Exchange]:
    """Give what the looks list: what changed of late; what the push wrote itself; short lists whole."""
    looked: set[str] = set()
    for lot in lots:
        system, name = lot["system"], lot["object"]
        whole = f"{system}.{name}"
        if whole not in looked:
            looked.add(whole)
            yield _listed_again(system, name, weights, recent)
        if system == "xero":
            rows = renewed(lot["resting"], terms) * relisted(lot["writes"], lot["calls"], terms)
            yield system, name, "look", None, rows, 0, rows * lot["after"]
        yield system, name, "look", None, lot["fresh"], 0, lot["fresh"] * lot["after"]
    times = records.filter("grouped")["request"].n_unique()
    yield "xero", "Item", "look", None, 0, 0, times * weights.get(f"xero.Item{WHOLE}", 0)


def _sources(
    records: pl.DataFrame, terms: Terms, weights: Mapping[str, float], recent: Mapping[str, int]
) -> Iterable[Exchange]:
    """Give what is looked at of that from which new documents and payments are made."""
    sourced = records.filter("sourced").with_columns(
        source=pl.col("source_id").str.head(3).replace_strict(SOURCES, default=None, return_dtype=pl.String)
    )
    if sourced.is_empty():
        return
    for name, rows in sourced.group_by("source").len().sort("source").iter_rows():
        weight = weights.get(f"salesforce.{name}", salesforce_row(()))
        yield "salesforce", name, "look", None, rows, 0, rows * weight
    documents = sourced.filter(pl.col("entity") != "payment")
    if documents.is_empty():
        return
    lines = [SOURCE_OBJECTS[name].lines for name in documents["source"].drop_nulls().unique().sort()]
    times = 1 + renewed(sourced["request"].n_unique(), terms)
    for name in (*lines, *terms.reductions):
        *_, rows, sent, received = _listed_again("salesforce", name, weights, recent)
        yield "salesforce", name, "look", None, rows * times, sent, received * times


def _listed_again(
    system: str, name: str, weights: Mapping[str, float], recent: Mapping[str, int]
) -> Exchange:
    whole = f"{system}.{name}"
    rows = recent.get(whole, 0)
    known = (weights[kind] for kind in (whole + RECENT, whole + WRITTEN, whole) if kind in weights)
    return system, name, "look", None, rows, 0, rows * next(known, 0)


# --- What is read again ----------------------------------------------------------------------------------


def _read_again(
    lots: Collection[Mapping[str, Any]], records: pl.DataFrame, terms: Terms, weights: Mapping[str, float]
) -> Iterable[Exchange]:
    changed = {(lot["system"], lot["object"]) for lot in lots if not lot["creates"]}
    for lot in lots:
        # A new one is asked for, and is among what changed, where anything did.
        times = int(lot["creates"]) + int((lot["system"], lot["object"]) in changed)
        rows = times * lot["records"]
        kind = "listed" if lot["creates"] and lot["system"] == "xero" else None
        yield lot["system"], lot["object"], "read_again", kind, rows, 0, rows * lot["after"]
    for (system, name), rows in terms.before.items():
        yield system, name, "read_again", None, rows, 0, rows * weights.get(f"{system}.{name}", 0)
    histories = with_history(records, terms)
    for name, rows in histories.group_by("object").len().sort("object").iter_rows():
        yield "xero", name, "read_again", "history", rows, 0, rows * HISTORY


def _envelopes(operations: pl.DataFrame, records: pl.DataFrame, terms: Terms) -> Iterable[Exchange]:
    """Give what each call carries besides its rows."""
    for side, by_purpose in price(operations, terms).items():
        for purpose, calls in by_purpose.items():
            # Of the commas between the records one is too many.
            sent = (len(SENT_CALL[side]) - 1) * calls if purpose == "write" else 0
            calls -= with_history(records, terms).height if (side, purpose) == ("xero", "read_again") else 0
            yield side, None, purpose, None, 0, sent, calls * _around(side, purpose)


def _around(side: str, purpose: str) -> int:
    """Give what a reply weighs besides its rows."""
    if purpose == "identity":
        return IDENTITY[side]
    return len((ANSWERED_CALL if purpose == "write" else LISTED_CALL)[side])


# --- Weights ---------------------------------------------------------------------------------------------


def row_weights(
    raw: Mapping[str, pl.DataFrame],
    operations: pl.DataFrame,
    fields: Mapping[str, Collection[str]],
    since: Mapping[str, datetime],
) -> dict[str, float]:
    """Give, by "side.object", what a row weighs on the line as it was pulled: of those that are written, else of all.

    Takes RAW by "side.object", OPERATIONS; fields: of Salesforce, by object, those that a push asks for; since: as
    `recent_rows`. With .written after its name: as it is shown once it was written; with .recent: of those rows; with
    .whole: all of a list that has no pages.
    """
    written = operations["record_id"].drop_nulls().str.strip_suffix(PRIMARY).unique()
    weights = {f"salesforce.{name}": float(salesforce_row(asked, name)) for name, asked in fields.items()}
    for name, rows in raw.items():
        side, _, object_name = name.partition(".")
        if rows.is_empty() or (side == "salesforce" and object_name not in fields):
            continue
        mine = rows.filter(pl.col("record_id").is_in(written.implode()))
        mine = mine if not mine.is_empty() else rows
        asked = fields[object_name] if side == "salesforce" else None
        weights[name] = _row_bytes(mine, object_name, asked)
        late = rows.filter(_is_recent(since[side])) if side in since else rows.clear()
        if not late.is_empty():
            weights[name + RECENT] = _row_bytes(late, object_name, asked)
        if name in LISTED_WHOLE:
            weights[name + WHOLE] = _row_bytes(rows, object_name, asked) * rows.height
        if name == CONTACT:
            weights[name + WRITTEN] = weights[name] + _mean(mine, _blank_bytes())
    return {name: round(weight, 1) for name, weight in weights.items()}


def recent_rows(raw: Mapping[str, pl.DataFrame], since: Mapping[str, datetime]) -> dict[str, int]:
    """Give, by "side.object", the rows that a first look lists again.

    Takes RAW by "side.object"; since: by side, back to when a first look asks for what changed.
    """
    return {
        name: rows.filter(_is_recent(since[side])).height
        for name, rows in raw.items()
        if (side := name.partition(".")[0]) in since
    }


def after_done(
    weights: Mapping[str, float],
    recent: Mapping[str, int],
    operations: pl.DataFrame,
    done: pl.DataFrame,
    live: Mapping[str, int],
) -> tuple[dict[str, float], dict[str, int]]:
    """Give weights and recent rows as they are once a part of the plan is done.

    Takes OPERATIONS of the whole plan, and those that are done; live: how many rows there are, by side.object. What was
    written is listed again, and longer. Which of it was among the recent rows is not known any more.
    """
    of_all, heavier, found = (
        dict(_records(operations, pl.len()).select("name", "n").iter_rows()),
        dict(weights),
        dict(recent),
    )
    for name, n, new, grown in _records(done, _grown_bytes()).iter_rows():
        found[name] = min(found.get(name, 0) + n, max(live.get(name, 0) + new, n))
        for kind in (name, name + WRITTEN):
            if kind in heavier and name.partition(".")[2] not in DOCUMENTS:
                heavier[kind] += grown / of_all[name]
    return heavier, found


def _records(operations: pl.DataFrame, told: pl.Expr) -> pl.DataFrame:
    """Give, by "side.object", how many records are written, how many of them made, and a sum of all."""
    own = pl.coalesce("record_id", "operation_id").str.strip_suffix(PRIMARY)
    rows = operations.with_columns(pl.col("system").cast(pl.String), sent=_sent())
    return rows.group_by(name=pl.format("{}.{}", "system", "object"), maintain_order=True).agg(
        n=own.n_unique(), new=(pl.col("action") == "create").sum(), told=told
    )


def _grown_bytes() -> pl.Expr:
    """Give by how much longer records are shown afterwards; of those that are changed."""
    grown = _shown_bytes("sent") - _shown_bytes("native_before")
    return grown.filter(pl.col("action") != "create").sum()


def _is_recent(since: datetime) -> pl.Expr:
    return pl.col("modified_at") >= since


def _row_bytes(rows: pl.DataFrame, object_name: str, asked: Collection[str] | None) -> float:
    """Give what a row weighs; asked: of Salesforce, the fields that are asked for, of a few that stand for all."""
    if asked is None:
        return _mean(rows, pl.col("body").str.len_bytes() + 1)
    values = [loads(body) for body in rows.gather_every(max(rows.height // SAMPLE, 1))["body"]]
    shown = [dumps({name: value.get(name) for name in asked}).encode() for value in values]
    return salesforce_row((), object_name) + sum(map(len, shown)) / len(shown)


def _mean(rows: pl.DataFrame, size: pl.Expr) -> float:
    return float(rows.select(size.mean()).item())


def _blank_bytes() -> pl.Expr:
    """Give what the blank fields of a contact weigh that its row does not show yet."""
    body = pl.col("body")
    return pl.sum_horizontal(
        (slots - body.str.count_matches(f'"{name}":', literal=True).cast(pl.Int64)).clip(0)
        * len(f'"{name}":"",')
        for name, slots in BLANKS.items()
    )


def salesforce_row(fields: Iterable[str], object_name: str = "Opportunity") -> int:
    """Give about what a row of these fields weighs."""
    around = (
        f'{{"attributes":{{"type":"{object_name}","url":"/services/data/v67.0/sobjects/{object_name}/{ID}"}},'
    )
    return len(around) + sum(len(name) + FIELD for name in fields)


def _sent() -> pl.Expr:
    """Give the body as it leaves: with an id, number or status in the place of what another operation makes."""
    body = pl.col("native_after").fill_null("{}")
    for pattern, told in MADE_FIELDS.items():
        body = body.str.replace_all(pattern, told)
    guid, own = (body.str.replace_all(MADE_ID, f'"${{1}}{of_length}${{2}}"') for of_length in (GUID, ID))
    return pl.when(pl.col("system") == "salesforce").then(guid).otherwise(own)


def _cells_bytes() -> pl.Expr:
    """Give how long the values of a body are in a row of CSV, with what stands between them."""
    return pl.col("sent").str.replace_all(NAME, "").str.replace_all(r'[{}"]', "").str.len_bytes()


def _shown_bytes(piece: str) -> pl.Expr:
    """Give how long a piece is as its vendor shows it: Xero leaves out what is blank, but for the fields of a slot."""
    text = pl.col(piece).fill_null("{}")
    in_slots = text.str.replace_all("null", '""', literal=True)
    slotted = text.str.contains("[{", literal=True)
    shown = pl.when(slotted).then(in_slots).otherwise(text.str.replace_all(BLANK, ""))
    return pl.when(pl.col("system") == "xero").then(shown).otherwise(text).str.len_bytes().cast(pl.Int64)


def billed(received: int, gb_price: Decimal) -> Decimal:
    """Give what Xero bills for bytes that it sends beyond what the app's tier includes, to the cent.

    Source: pricing from 2026-03-02: 2.40 AUD a GB; what comes in is free, and custom connections are exempt.
    """
    return (Decimal(received) / GB * gb_price).quantize(CENT)
