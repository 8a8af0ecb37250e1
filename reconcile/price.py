"""Says what a plan will cost before anything is sent: calls by side and purpose, minutes, share of the day.

Counted as the push works: in waves, by record, in the vendors' batches; each object is looked at, Salesforce's
writes are read back, and all that was written is read again. What nobody can know before is left out: a reply that is
lost, an edit that comes in between or in the second of the look, a list that Xero gives in smaller pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from reconcile.agreed import UNIT, WITHDRAWN
from reconcile.mapped import GROUP_OBJECT, GROUPS, OURS, TRACKING_OPTION
from reconcile.model import SIDES

PRIMARY: Final = ":primary"
MAKES_LINK: Final = ("link", "create")
PURPOSES: Final = ("identity", "look", "write", "read_back", "read_again")
RECORDS_A_REQUEST: Final = {"salesforce": 200, "xero": 50}
GUARDED_A_REQUEST: Final = 25
# Of a job of Salesforce's: its rows, and its calls: make, give rows, close, ask, read what was written. It is left
# alone for as long as it needs at that pace, so that it is asked once; a slower org costs a few questions more. So many
# rows are one batch of Salesforce's, which writes them one after the other: none waits for another's lock.
ROWS_A_JOB: Final = 10_000
CALLS_A_JOB: Final = 5
JOB_ROWS_A_S: Final = 1_000
ALONE: Final = ("Payment", TRACKING_OPTION)  # of Xero: one a request
ASKED_AT_ONCE: Final = {"salesforce": 200, "xero": 40}  # ids or keys in one question
ROWS_A_PAGE: Final = {"salesforce": 2000, "xero": 1000}
BY_KEY: Final = 400  # new records that are read again one by one; more come as a list
LOOK_LASTS_S: Final = 30  # where it guards what people edit, or new records that could be made twice
LISTED_AGAIN_S: Final = 60  # what was written in that time before a look is in the next one too


@dataclass(frozen=True)
class Terms:
    """What the price depends on besides the operations.

    before: (system, object) -> new records of the run before, which are read again once more. reductions: the objects
    of which a record may take from what a document is made from.
    """

    guarded: bool = True  # push.guard: record
    bulk_from_rows: int = 2_000  # push.bulk_from_rows
    documents_at_once: int = 50
    history: str = "all"  # audit.history
    xero_calls_a_minute: int = 60
    reductions: tuple[str, ...] = ()
    before: Mapping[tuple[str, str], int] = field(default_factory=dict)


def price(operations: pl.DataFrame, terms: Terms) -> dict[str, dict[str, int]]:
    """Give the calls of a push and of what is read again after it: side -> purpose -> calls.

    Takes OPERATIONS. Nothing to do costs nothing.
    """
    found = {side: dict.fromkeys(PURPOSES, 0) for side in SIDES}
    if operations.is_empty():
        return found
    records = records_of(operations, terms)
    requests = requests_of(records, terms)
    for side in SIDES:
        mine = requests.filter(pl.col("system") == side)
        found[side]["identity"] = 1
        found[side]["write"] = _writes(mine)
        found[side]["read_again"] = _read_again(records.filter(pl.col("system") == side), side, terms)
    back = requests.filter(pl.col("system") == "salesforce")
    listed = back.filter("by_job").group_by("request").len()["len"]
    found["salesforce"]["read_back"] = _parts(back.filter(~pl.col("by_job")), "salesforce") + sum(
        -(-count // ROWS_A_PAGE["salesforce"]) for count in listed
    )
    for side, calls in _looks(records, requests, terms).items():
        found[side]["look"] = calls
    return found


def calls(priced: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Give all calls by side."""
    return {side: sum(by_purpose.values()) for side, by_purpose in priced.items()}


def minutes(priced: Mapping[str, Mapping[str, int]], terms: Terms) -> float:
    """Give how long Xero's limit lets it last at least. Salesforce has no limit by the minute."""
    return calls(priced)["xero"] / terms.xero_calls_a_minute


# --- Records and requests -------------------------------------------------------------------------------


def records_of(operations: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Give one row a record's write: wave, system, object, entity, what it is and what of it costs a look.

    edited: people write there too. resting: it must not leave on an old look, as the protocol's P11 has it.
    source_id: of what it is made from.
    """
    own = pl.col("record_id").str.strip_suffix(PRIMARY)
    creates = pl.col("action") == "create"
    edited = (
        (pl.col("action") == "update")
        & ~pl.col("unit").is_in(list(OURS))
        & ~pl.col("rule").str.starts_with("projection").fill_null(False)
    )
    body = pl.col("native_after").fill_null("")
    sourced = pl.col("entity").cast(pl.String).is_in(["document", "credit", "payment", "bill"]) & (
        creates | (pl.col("unit").is_in([UNIT, WITHDRAWN]) & (pl.col("phase") != "undo"))
    )
    rows = operations.with_columns(pl.col("system", "entity", "action", "phase").cast(pl.String)).join(
        _waves(operations), on="operation_id", how="left", validate="1:1"
    )
    # Xero takes these once, and their key holds an id of Salesforce's: nobody else gives it to a record.
    source = pl.col("source_id").str.to_lowercase()
    derived = (
        body.str.extract(r'"InvoiceNumber":\s*"([^"]*)"')
        .str.to_lowercase()
        .str.contains(source, literal=True)
    )
    numbered = (pl.col("object") == "Invoice") & derived.fill_null(False)
    once = (pl.col("system") == "xero") & ((pl.col("object") == "Contact") | numbered)
    marked = rows.with_columns(
        record=pl.when(creates).then("operation_id").otherwise(own),
        creates=creates,
        edited=edited,
        guarded=edited & pl.lit(terms.guarded) & (pl.col("system") == "salesforce"),
        grouped=(pl.col("object") == "Item") & ~creates & body.str.contains_any(sorted(GROUPS)),
        sourced=sourced & (pl.col("system") == "xero"),
        # Who enters a contact group goes in one call for each group, who leaves in one of its own.
        group=pl.when(pl.col("object") == GROUP_OBJECT).then(pl.col("record_id").str.head(36)),
        leaves=(pl.col("object") == GROUP_OBJECT) & body.str.contains("false", literal=True),
    ).with_columns(resting=pl.col("edited") | (pl.col("creates") & ~once))
    records = marked.group_by("wave", "system", "object", "record", maintain_order=True).agg(
        pl.col("creates", "edited", "guarded", "grouped", "sourced", "resting", "leaves").any(),
        pl.col("entity", "source_id", "group").first(),
    )
    # What this very push wrote just before is looked at again before a guarded write.
    first = pl.col("wave").min().over("system", "object", "record")
    return records.with_columns(fresh=pl.col("guarded") & (pl.col("wave") > first))


def _waves(operations: pl.DataFrame) -> pl.DataFrame:
    """Say in which wave each operation can go: after those that it names, and after the one that makes its link."""
    body = pl.col("native_after").fill_null("")
    makes = pl.col("action").cast(pl.String).is_in(list(MAKES_LINK)) | (pl.col("phase") == "create")
    makers = operations.filter(makes, pl.col("link_id").is_not_null()).select("link_id", need="operation_id")
    named = (
        operations.select("operation_id", need=body.str.extract_all(r'"\$from":"[^"]+"'))
        .explode("need")
        .with_columns(pl.col("need").str.slice(9).str.strip_chars('"'))
    )
    linked = (
        operations.filter(~makes).select("operation_id", "link_id").join(makers, on="link_id", how="inner")
    )
    needs = (
        pl.concat(
            [
                operations.select("operation_id", need="depends_on"),
                named,
                linked.select("operation_id", "need"),
            ]
        )
        .drop_nulls("need")
        .join(operations.select(need="operation_id"), on="need", how="semi")
    )
    waves = operations.select("operation_id", wave=pl.lit(0))
    while True:
        later = (
            needs.join(waves.rename({"operation_id": "need"}), on="need", how="inner")
            .group_by("operation_id")
            .agg(after=pl.col("wave").max() + 1)
        )
        moved = waves.join(later, on="operation_id", how="left").select(
            "operation_id", wave=pl.max_horizontal("wave", pl.col("after").fill_null(0))
        )
        if moved["wave"].sum() == waves["wave"].sum() or moved["wave"].max() == len(operations):
            return moved
        waves = moved


def requests_of(records: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Add request: which records go in one call, or as one job (by_job)."""
    # Only what nobody edits, as the writer has it; by how many there are in their wave.
    able = ~pl.col("edited") & (pl.col("system") == "salesforce")
    many = able.sum().over("wave", "system", "object", "creates")
    records = records.with_columns(by_job=able & (many >= terms.bulk_from_rows), many=many)
    jobs = (pl.col("many") + ROWS_A_JOB - 1) // ROWS_A_JOB
    size = (
        pl.when("by_job").then((pl.col("many") + jobs - 1) // jobs)
        .when("guarded").then(GUARDED_A_REQUEST)
        .when(pl.col("object").is_in(ALONE) | pl.col("leaves"), pl.col("system") == "xero").then(1)
        .when(pl.col("object").is_in(["Invoice", "Bill"]), pl.col("system") == "xero").then(terms.documents_at_once)
        .when(pl.col("system") == "xero").then(RECORDS_A_REQUEST["xero"])
        .otherwise(RECORDS_A_REQUEST["salesforce"])
    )  # fmt: skip
    # Guarded ones go together, whatever their object.
    lot = (
        pl.when("guarded")
        .then(pl.lit("guarded"))
        .otherwise(
            pl.format(
                "{} {} {} {} {}", "object", "creates", pl.col("group").fill_null(""), "leaves", "by_job"
            )
        )
    )
    lots = records.with_columns(lot=lot).sort("wave", "system", "lot", "object", maintain_order=True)
    nth = pl.int_range(pl.len()).over("wave", "system", "lot") // size
    return lots.with_columns(request=pl.format("{} {} {} {}", "wave", "system", "lot", nth.cast(pl.String)))


def _writes(requests: pl.DataFrame) -> int:
    jobs = requests.filter("by_job")["request"].n_unique()
    return requests["request"].n_unique() + jobs * (CALLS_A_JOB - 1)


def _parts(requests: pl.DataFrame, side: str) -> int:
    """Give how many questions the records of each request are, object by object."""
    counts = requests.group_by("request", "object").agg(n=pl.len())["n"]
    return sum(-(-count // ASKED_AT_ONCE[side]) for count in counts)


# --- Looks ----------------------------------------------------------------------------------------------


def _looks(records: pl.DataFrame, requests: pl.DataFrame, terms: Terms) -> dict[str, int]:
    """Give the questions before the writes: what changed of each object, and what new documents are made from.

    A look lasts half a minute where something rests on it; Xero's limit spreads many calls over many.
    """
    found = dict.fromkeys(SIDES, 0)
    by_object = requests.group_by("system", "object").agg(
        records=pl.len(),
        calls=pl.col("request").n_unique(),
        resting=pl.col("request").filter("resting").n_unique(),
        groups=pl.col("group").drop_nulls().n_unique(),
    )
    for one in by_object.iter_rows(named=True):
        if one["groups"]:  # each is asked who is in it
            found["xero"] += one["groups"] * (1 + renewed(one["resting"], terms))
            continue
        found[one["system"]] += 1
        if one["system"] == "xero":
            pages = -(-relisted(one["records"], one["calls"], terms) // ROWS_A_PAGE["xero"])
            found["xero"] += renewed(one["resting"], terms) * max(pages, 1)
    whole = requests.filter("grouped")["request"].n_unique()  # a short list, read whole
    found["xero"] += whole
    found["salesforce"] += _parts(requests.filter("fresh"), "salesforce")
    sourced = requests.filter("sourced")
    found["salesforce"] += _parts(sourced, "salesforce")
    if not sourced.filter(~pl.col("entity").is_in(["payment", "bill"])).is_empty():  # these have no lines
        looked = set(requests.filter(pl.col("system") == "salesforce")["object"])
        more = len(set(terms.reductions) - looked)  # else it is looked at already
        found["salesforce"] += (1 + more) * (1 + renewed(sourced["request"].n_unique(), terms))
    return found


def relisted(records: int, requests: int, terms: Terms) -> int:
    """Give the rows of a look that is renewed: what was written since the one before is in it, and a little more."""
    written = (LOOK_LASTS_S + LISTED_AGAIN_S) * terms.xero_calls_a_minute * records / requests / 60
    return int(min(written, records))


def renewed(requests: int, terms: Terms) -> int:
    """Give how often a look runs out while these requests wait for the minute's limit; the first minute is free."""
    a_minute = terms.xero_calls_a_minute
    waited_s = max(requests - a_minute, 0) * 60 / a_minute
    return int(waited_s // LOOK_LASTS_S)


# --- What is read again -----------------------------------------------------------------------------------


def _read_again(records: pl.DataFrame, side: str, terms: Terms) -> int:
    new = records.filter("creates").group_by("object").agg(n=pl.len())
    counted = dict(new.iter_rows())
    for (system, name), count in terms.before.items():
        if system == side:
            counted[name] = counted.get(name, 0) + count
    found = sum(
        -(-count // (ASKED_AT_ONCE[side] if count <= BY_KEY else ROWS_A_PAGE[side]))
        for count in counted.values()
    )
    found += records["group"].drop_nulls().n_unique()
    updated = records.filter(~pl.col("creates"), pl.col("group").is_null())
    for (count,) in updated.group_by("object").agg(n=pl.len()).select("n").iter_rows():
        found += -(-count // ROWS_A_PAGE[side])
    return found + with_history(records, terms).height


def with_history(records: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Give the records of which the History is read, a call each."""
    which = {"all": pl.lit(True), "documents": pl.col("entity") == "document", "none": pl.lit(False)}
    mine = (pl.col("system") == "xero") & pl.col("group").is_null()  # a contact group has none
    return records.filter(which[terms.history], "edited", ~pl.col("creates"), mine)
