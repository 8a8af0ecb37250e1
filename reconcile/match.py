"""Decides which records of the two sides are the same: what is known, what ids say, then evidence.

In this order, each step seeing only what the ones before left free: links that are known, ids that both
records carry or one of them, pairs that a person accepted, merged records led to their survivor, strong
identifiers, and at last a score. What contradicts is an incident, what is not certain goes to review, and
nothing here ever joins two records of one side or takes a linked record from its partner.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import polars as pl
from rapidfuzz.distance import JaroWinkler

from reconcile.blocking import candidate_pairs, name_keys, too_common
from reconcile.mapped import WHOLE_OF
from reconcile.match_products import find_prices, find_products
from reconcile.model import (
    DECISIONS,
    ENTITY,
    LINKS,
    RECORDS,
    REJECTS,
    SIDE,
    VALUES,
    conform,
    empty,
)
from reconcile.score import (
    IDENTIFIERS,
    SAME_NAME,
    comparison_keys,
    evidence,
    fold_company,
    pairwise,
    score_pairs,
)

REVIEW: Final = {**LINKS, "fingerprint": pl.String}
UNMATCHED: Final = {"entity": ENTITY, "side": SIDE, "record_id": pl.String, "why": pl.String}
PAIR: Final = ["salesforce_id", "xero_id"]
OTHER: Final = {"salesforce": "xero", "xero": "salesforce"}
MADE_BY: Final = "reconcile"
LONGEST_CHAIN: Final = 32  # doublings: a chain of merges longer than 2**32 does not exist


@dataclass(frozen=True)
class Thresholds:
    """From which match probability a pair is linked or shown, and by how many bits it must lead others."""

    link: float = 0.95
    review: float = 0.5
    margin: float = 4.0


DEFAULT_THRESHOLDS: Final = Thresholds()


@dataclass(frozen=True)
class Matches:
    """What belongs together.

    links: LINKS that hold now, both records being there; new: those that the journal does not know yet;
    review: LINKS and the pair's fingerprint; unmatched: entity, side, record_id, why; incidents: REJECTS.
    """

    links: pl.DataFrame
    new: pl.DataFrame
    review: pl.DataFrame
    unmatched: pl.DataFrame
    incidents: pl.DataFrame


def link_id(entity: str, salesforce_id: str, xero_id: str) -> str:
    return f"{entity}:{salesforce_id}:{xero_id}"


def match(
    records: pl.DataFrame,
    values: pl.DataFrame,
    links: pl.DataFrame,
    decisions: pl.DataFrame,
    *,
    entity: str,
    parents: pl.DataFrame | None = None,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> Matches:
    """Say which records of one entity are the same.

    Takes RECORDS and VALUES of both sides, LINKS that the journal knows, DECISIONS; for persons and prices
    `parents`, the LINKS that hold between their parties or products. Gives Matches, sorted. Raises nothing.
    """
    records = conform(records, RECORDS).filter(pl.col("entity") == entity)
    values = conform(values, VALUES).filter(pl.col("entity") == entity)
    known = conform(links, LINKS).filter((pl.col("entity") == entity) & (pl.col("status") == "linked"))
    said = _latest(conform(decisions, DECISIONS).filter(pl.col("entity") == entity))

    nodes = _nodes(records)
    by_id = _link_by_ids(nodes, known, said)
    refused = _refused(said, values)
    nodes = _with_standing(nodes, by_id)
    found, crowded = FINDERS[entity](nodes, values, refused, parents, thresholds)
    held = pl.concat([_known_rows(by_id.pairs, known, said, entity), _found_rows(found, "linked", entity)])
    review = pl.concat(
        [
            _asked_rows(by_id.review.join(refused, on=PAIR, how="anti"), entity),
            _found_rows(found, "review", entity),
        ]
    )
    return Matches(
        links=held.sort(PAIR),
        new=held.join(known, on="link_id", how="anti").sort(PAIR),
        review=conform(fingerprints(values, review), REVIEW).sort(
            "score", *PAIR, descending=[True, False, False], nulls_last=True
        ),
        unmatched=_unmatched(nodes, held, review, by_id, crowded, parents, entity),
        incidents=conform(
            by_id.incidents.select(
                "side", "record_id", "reason", stage=pl.lit("match"), entity=pl.lit(entity)
            ),
            REJECTS,
        ).sort("side", "record_id"),
    )


# --- Records, survivors and claims --------------------------------------------------------------------


def follow_merges(records: pl.DataFrame) -> pl.DataFrame:
    """Give for each record the one that it lives on in: side, record_id, survivor.

    The record itself where it was not merged; null where it was deleted, or its chain of merges leads to
    nothing or in a circle. Takes side, record_id, status, merged_into.
    """
    steps = records.select(
        "side",
        "record_id",
        "status",
        target=pl.when(pl.col("status") == "merged").then("merged_into").otherwise("record_id"),
    )
    ends = steps.select("side", "record_id", "target").unique(["side", "record_id"])
    paths = steps.filter(pl.col("status") == "merged").select("side", "record_id", "target")
    for _ in range(LONGEST_CHAIN):
        further = paths.join(
            ends.select("side", target="record_id", further="target"),
            on=["side", "target"],
            how="left",
            validate="m:1",
        )
        moved = further.filter(pl.col("further").ne_missing(pl.col("target"))).height
        paths = further.select("side", "record_id", target="further")
        if not moved:
            break
        # Each round doubles the length of the steps.
        ends = pl.concat([ends.join(paths, on=["side", "record_id"], how="anti"), paths])
    alive = records.filter(pl.col("status").is_in(["active", "archived"])).select(
        "side", survivor="record_id"
    )
    found = pl.concat(
        [steps.filter(pl.col("status") != "merged").select("side", "record_id", "target"), paths]
    )
    reached = found.join(
        alive.with_columns(there=True),
        left_on=["side", "target"],
        right_on=["side", "survivor"],
        how="left",
        validate="m:1",
    )
    return reached.select("side", "record_id", survivor=pl.when("there").then("target"))


def _nodes(records: pl.DataFrame) -> pl.DataFrame:
    """Give the records with what their reference leads to: claim, claim_state.

    claim_state: null (carries no id), alive, gone (deleted, or merged into nothing), unknown (not there).
    """
    survivors = follow_merges(records)
    claims = pl.concat(
        survivors.filter(pl.col("side") == OTHER[side]).select(
            side=pl.lit(side, dtype=SIDE), reference="record_id", claim="survivor", known=pl.lit(True)
        )
        for side in OTHER
    )
    state = (
        pl.when(pl.col("reference").is_null())
        .then(None)
        .when(pl.col("claim").is_not_null())
        .then(pl.lit("alive"))
        .when("known")
        .then(pl.lit("gone"))
        .otherwise(pl.lit("unknown"))
    )
    alive = pl.col("status").is_in(["active", "archived"])
    return (
        records.join(survivors, on=["side", "record_id"], how="left", validate="1:1")
        .join(claims, on=["side", "reference"], how="left", validate="m:1")
        .with_columns(
            claim_state=state,
            direct=(pl.col("claim") == pl.col("reference")).fill_null(False),
            alive=alive,
            open=(pl.col("status") == "active") & pl.col("in_scope").fill_null(False),
        )
        .select(
            "side",
            "record_id",
            "status",
            "survivor",
            "reference",
            "parent_id",
            "in_scope",
            "claim",
            "claim_state",
            "direct",
            "alive",
            "open",
        )
    )


def _latest(decisions: pl.DataFrame) -> pl.DataFrame:
    """Give what was last decided about each pair: accept_link, refuse_link or undo_link."""
    about_links = decisions.filter(pl.col("kind").is_in(["accept_link", "refuse_link", "undo_link"]))
    return about_links.sort("made_at", nulls_last=False).unique(PAIR, keep="last", maintain_order=True)


# --- By ids -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ById:
    """pairs and review: PAIR and rule; incidents: side, record_id, reason; gone: side, record_id."""

    pairs: pl.DataFrame
    review: pl.DataFrame
    incidents: pl.DataFrame
    gone: pl.DataFrame


def _link_by_ids(nodes: pl.DataFrame, known: pl.DataFrame, said: pl.DataFrame) -> _ById:
    """Link what the journal knows, what ids say and what a person accepted; find what contradicts."""
    accepted = _followed(said.filter(pl.col("kind") == "accept_link").select(PAIR), nodes).drop_nulls(PAIR)
    every_claim = nodes.filter("alive", pl.col("claim_state").is_not_null())
    # A person who accepts a pair has seen the ids that speak against it.
    claims = every_claim.join(_ends(accepted), on=["side", "record_id"], how="anti")
    followed = _followed(known.select(PAIR), nodes)
    firm, incidents = _firm(followed, _mutual(every_claim), claims)
    asked = _ruled(accepted, "accepted")
    taken = _ends(firm, incidents)
    by_person, contested = _one_to_one(_untouched(asked, taken))
    pairs = pl.concat([firm, by_person])
    review = [contested, _touched(asked, taken)]

    taken = _ends(pairs, incidents)
    loose = claims.join(taken, on=["side", "record_id"], how="anti")
    one_sided, wrong = _one_sided(loose, claims, taken)
    # What a person took back is asked: not found again by itself, and not made anew as if it had no partner.
    undone = _followed(said.filter(pl.col("kind") == "undo_link").select(PAIR), nodes).drop_nulls(PAIR)
    one_sided = one_sided.join(undone, on=PAIR, how="anti")
    pairs, incidents = pl.concat([pairs, one_sided]), pl.concat([incidents, wrong])

    taken = _ends(pairs, incidents)
    aliases = pl.concat(
        [followed.filter("alias").drop_nulls(PAIR).select(PAIR), _as_pairs(loose.filter(~pl.col("direct")))]
    ).unique(PAIR)
    aliases = _ruled(aliases, "survivor").join(pairs, on=PAIR, how="anti").join(undone, on=PAIR, how="anti")
    survivors, several = _one_to_one(_untouched(aliases, taken))
    survivors, contradicted = _agreeing(survivors, claims)
    pairs = pl.concat([pairs, survivors])
    review += [_touched(aliases, taken), several, contradicted]
    review.append(_untouched(_ruled(undone, "undone"), _ends(pairs, incidents)))
    return _ById(
        pairs=pairs,
        review=pl.concat(review).join(pairs, on=PAIR, how="anti").unique(PAIR, maintain_order=True),
        incidents=incidents.unique(["side", "record_id"], keep="first", maintain_order=True),
        gone=_gone(followed, claims).join(_ends(pairs, incidents), on=["side", "record_id"], how="anti"),
    )


def _mutual(claims: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs whose records name each other."""
    direct = claims.filter(pl.col("claim_state") == "alive", pl.col("direct"))
    here, there = (
        direct.filter(pl.col("side") == side).select(
            **{f"{side}_id": "record_id", f"{OTHER[side]}_id": "claim"}
        )
        for side in OTHER
    )
    return here.join(there.select(PAIR), on=PAIR, how="semi").select(PAIR)


def _firm(
    followed: pl.DataFrame, mutual: pl.DataFrame, claims: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give what the journal knows or both records say, and the records of which two of the three disagree."""
    known = followed.filter(~pl.col("alias")).drop_nulls(PAIR)
    firm = pl.concat([_ruled(known, "known"), _ruled(mutual, "our_ids")]).unique(
        PAIR, keep="first", maintain_order=True
    )
    firm, doubled = _one_to_one(firm)
    firm, broken = _agreeing(firm, claims)
    incidents = [
        _incidents(_ends(doubled), "journal and ids link it to two records of the other side"),
        _incidents(_ends(broken), "its link and the ids that both records carry do not agree"),
    ]
    return firm, pl.concat(incidents)


def _one_sided(
    loose: pl.DataFrame, claims: pl.DataFrame, taken: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the pairs of which one record carries the other's id uncontradicted, and the incidents."""
    unknown = loose.filter(pl.col("claim_state") == "unknown").select("side", "record_id")
    named = loose.filter(pl.col("claim_state") == "alive", pl.col("direct"))
    partner = pl.concat(
        [
            named.filter(pl.col("side") == side).join(
                taken.filter(pl.col("side") == OTHER[side]), left_on="claim", right_on="record_id", how="semi"
            )
            for side in OTHER
        ]
    )
    free = _untouched(_ruled(_as_pairs(named), "our_ids"), taken)
    single, several = _one_to_one(free.unique(PAIR))
    single, contradicted = _agreeing(single, claims)
    incidents = [
        _incidents(unknown, "it carries the id of a record that is not in the other system's snapshot"),
        _incidents(
            partner.select("side", "record_id"), "it carries the id of a record that belongs to another"
        ),
        _incidents(_ends(several, contradicted), "ids of several records name it, or it names another"),
    ]
    return single, pl.concat(incidents)


def _agreeing(pairs: pl.DataFrame, claims: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the pairs into those that no id of the two contradicts, and the others."""
    checked = pairs
    for side in OTHER:
        own = claims.filter(pl.col("side") == side).select(
            pl.col("record_id").alias(f"{side}_id"),
            pl.col("claim").alias(f"{side}_claim"),
            pl.lit(True).alias(f"{side}_claims"),
        )
        checked = checked.join(own, on=f"{side}_id", how="left", validate="m:1", maintain_order="left")
    contradicts = [
        pl.col(f"{side}_claims").fill_null(False)
        & pl.col(f"{side}_claim").ne_missing(pl.col(f"{OTHER[side]}_id"))
        for side in OTHER
    ]
    checked = checked.with_columns(contradicts=pl.any_horizontal(contradicts))
    return checked.filter(~pl.col("contradicts")).select(*PAIR, "rule"), checked.filter("contradicts").select(
        *PAIR, "rule"
    )


def _gone(followed: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Give the records whose partner is no longer there: side, record_id."""
    lone = [
        followed.filter(pl.col(f"{OTHER[side]}_id").is_null()).select(
            side=pl.lit(side, dtype=SIDE), record_id=f"{side}_id"
        )
        for side in OTHER
    ]
    claiming = claims.filter(pl.col("claim_state") == "gone").select("side", "record_id")
    return pl.concat([*lone, claiming]).drop_nulls().unique()


def _followed(pairs: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Give pairs led to the survivors: PAIR (null = no longer there) and alias (an id has changed)."""
    led = pairs.rename({name: f"old_{name}" for name in PAIR})
    for side in OTHER:
        survivors = nodes.filter(pl.col("side") == side).select(
            pl.col("record_id").alias(f"old_{side}_id"), pl.col("survivor").alias(f"{side}_id")
        )
        led = led.join(survivors, on=f"old_{side}_id", how="left", validate="m:1", maintain_order="left")
    moved = [pl.col(name).ne_missing(pl.col(f"old_{name}")) for name in PAIR]
    return led.select(*PAIR, alias=pl.any_horizontal(moved))


def _as_pairs(claims: pl.DataFrame) -> pl.DataFrame:
    parts = [
        claims.filter(pl.col("side") == side, pl.col("claim_state") == "alive")
        .select(**{f"{side}_id": "record_id", f"{OTHER[side]}_id": "claim"})
        .select(PAIR)
        for side in OTHER
    ]
    return pl.concat(parts)


def _ruled(pairs: pl.DataFrame, rule: str) -> pl.DataFrame:
    return pairs.select(*PAIR, rule=pl.lit(rule))


def _ends(*frames: pl.DataFrame) -> pl.DataFrame:
    """Give the records of pairs, or of frames that name records already: side, record_id, each once."""
    ends = [pl.DataFrame(schema={"side": SIDE, "record_id": pl.String})]
    for frame in frames:
        if "record_id" in frame.columns:
            ends.append(frame.select("side", "record_id"))
        else:
            ends += [frame.select(side=pl.lit(side, dtype=SIDE), record_id=f"{side}_id") for side in OTHER]
    return pl.concat(ends).unique(maintain_order=True)


def _untouched(pairs: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs of which neither record is taken."""
    for side in OTHER:
        held = taken.filter(pl.col("side") == side).select(pl.col("record_id").alias(f"{side}_id"))
        pairs = pairs.join(held, on=f"{side}_id", how="anti", maintain_order="left")
    return pairs


def _touched(pairs: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    return pairs.join(_untouched(pairs, taken), on=PAIR, how="anti", maintain_order="left")


def _one_to_one(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the pairs into those whose records stand in no other pair, and the others."""
    single = (pl.len().over("salesforce_id") == 1) & (pl.len().over("xero_id") == 1)
    return pairs.filter(single), pairs.filter(~single)


def _incidents(ends: pl.DataFrame, reason: str) -> pl.DataFrame:
    return ends.select(
        "side",
        "record_id",
        reason=pl.lit(f"{reason}; correct the id in one of the systems, or accept a pair"),
    )


# --- By evidence: parties -----------------------------------------------------------------------------

FOUND: Final = {
    "salesforce_id": pl.String,
    "xero_id": pl.String,
    "rule": pl.String,
    "score": pl.Float64,
    "evidence": pl.String,
    "verdict": pl.String,  # link or review
}
ROWS: Final = ["salesforce_row", "xero_row"]
MOST_SHOWN: Final = 3  # candidates of one record in the review queue


def _find_parties(
    nodes: pl.DataFrame,
    values: pl.DataFrame,
    refused: pl.DataFrame,
    parents: pl.DataFrame | None,
    thresholds: Thresholds,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the pairs of companies that are linked or proposed (FOUND), and whom nobody could compare."""
    rows = nodes.filter("alive").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    at = rows.select("side", "record_id", "row")
    names = _folded_names(values, at)
    keys = (
        comparison_keys(values)
        .join(at, on=["side", "record_id"], how="inner")
        .select("side", "row", "kind", "key")
    )
    blocks = pl.concat([name_keys(names), keys])
    strong = _strong_pairs(keys, rows)
    pairs = pl.concat([candidate_pairs(blocks), strong.select(ROWS)]).unique(maintain_order=True)
    pairs = _open_pairs(pairs, rows).join(refused, on=PAIR, how="anti").sort(PAIR)
    scored = score_pairs(pairs.select(ROWS), names, keys)
    whole = pl.concat([pairs, scored.drop(ROWS)], how="horizontal").join(
        strong, on=ROWS, how="left", validate="1:1", maintain_order="left"
    )
    crowded = too_common(blocks).join(rows, on=["side", "row"], how="inner").select("side", "record_id")
    return _decide_parties(whole, thresholds), crowded


def _folded_names(values: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
    """Give side, row, name (folded for comparison), tokens."""
    named = values.filter(pl.col("unit") == "name", "observed", pl.col("value").is_not_null())
    folded = named.select("side", "record_id", name=fold_company(pl.col("value"))).drop_nulls("name")
    return folded.join(at, on=["side", "record_id"], how="inner").select(
        "side", "row", "name", tokens=pl.col("name").str.split(" ")
    )


def _strong_pairs(keys: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs that share an identifier which nobody else has: ROWS, rule (its name)."""
    held = keys.filter(pl.col("kind").is_in(IDENTIFIERS)).join(
        rows.filter("open").select("side", "row"), on=["side", "row"], how="semi"
    )
    unique = held.filter(pl.len().over("side", "kind", "key") == 1)
    here, there = (
        unique.filter(pl.col("side") == side).select("kind", "key", pl.col("row").alias(f"{side}_row"))
        for side in OTHER
    )
    shared = here.join(there, on=["kind", "key"], how="inner", validate="1:1")
    order = pl.col("kind").cast(pl.Enum(IDENTIFIERS))
    return shared.sort(order).unique(ROWS, keep="first", maintain_order=True).select(*ROWS, rule="kind")


def _open_pairs(pairs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs of which one record at least may still be linked, with what is known of both."""
    state = ["row", "record_id", "status", "linkable", "open", "linked", "incident"]
    for side in OTHER:
        own = rows.filter(pl.col("side") == side).select(
            pl.col(name).alias(f"{side}_{name}") for name in state
        )
        pairs = pairs.join(own, on=f"{side}_row", how="inner", validate="m:1", maintain_order="left")
    pairs = pairs.rename({f"{side}_record_id": f"{side}_id" for side in OTHER})
    return pairs.filter(
        pl.col("salesforce_linkable") | pl.col("xero_linkable"),
        ~(pl.col("salesforce_incident") | pl.col("xero_incident")),
    )


def _decide_parties(pairs: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """Give the scored pairs that are linked or shown to a person: FOUND."""
    both_free = pl.col("salesforce_linkable") & pl.col("xero_linkable")
    strong, likely = pl.col("rule").is_not_null(), pl.col("probability") >= thresholds.link
    alike = pl.col("name_level").is_in(SAME_NAME).fill_null(False)
    differs = pl.any_horizontal(
        (pl.col(f"{kind}_level") == "differs").fill_null(False) for kind in IDENTIFIERS
    )
    # Account numbers are whatever somebody typed: alone they don't join two different names.
    doubtful = differs | (
        (pl.col("rule") == "account_number") & (pl.col("name_level") == "unlike").fill_null(True)
    )
    alone = pl.all_horizontal(strong.sum().over(name) == 1 for name in PAIR)
    decided = pairs.with_columns(by_identifier=strong & alone & both_free & ~doubtful)
    free_still = ~pl.any_horizontal(pl.col("by_identifier").any().over(name) for name in PAIR)
    # Measured against the best assignment over the whole: asking about close calls costs 0.1 % of the links.
    leads = pl.all_horizontal((_lead(name) >= thresholds.margin) & (_lead(name) > 0) for name in PAIR)
    by_score = both_free & free_still & likely & alike & leads & ~differs
    decided = decided.with_columns(linked=pl.col("by_identifier") | by_score)
    taken = [pl.col("linked").any().over(f"{side}_id") | pl.col(f"{side}_linked") for side in OTHER]
    decided = decided.with_columns(salesforce_taken=taken[0], xero_taken=taken[1])
    # One name and nothing else is too little to link, and too much to make a second record beside it.
    possible = alike | (pl.col("probability") >= thresholds.review)
    asked = ~pl.col("linked") & _worth_asking(strong, likely & alike, possible)
    decided = decided.with_columns(asked=asked)
    shown = pl.all_horizontal(
        pl.col("weight").rank("ordinal", descending=True).over(name, "asked") <= MOST_SHOWN for name in PAIR
    )
    verdict = (
        pl.when("linked").then(pl.lit("link")).when(pl.col("asked") & (shown | strong)).then(pl.lit("review"))
    )
    found = decided.with_columns(verdict=verdict).filter(pl.col("verdict").is_not_null())
    score = pl.when("by_identifier").then(1.0).otherwise("probability")
    return found.select(
        *PAIR, rule=pl.coalesce("rule", _rule()), score=score, evidence="evidence", verdict="verdict"
    )


def _worth_asking(strong: pl.Expr, likely: pl.Expr, possible: pl.Expr) -> pl.Expr:
    """A person is asked what a free record may be; of one that can't be linked only if it is likely."""
    some_free = pl.any_horizontal(pl.col(f"{side}_linkable") & ~pl.col(f"{side}_taken") for side in OTHER)
    both_free = pl.all_horizontal(pl.col(f"{side}_linkable") & ~pl.col(f"{side}_taken") for side in OTHER)
    return some_free & pl.when(both_free).then(possible | strong).otherwise(likely | strong)


def _rule() -> pl.Expr:
    taken = pl.col("salesforce_taken") | pl.col("xero_taken")
    archived = (pl.col("salesforce_status") == "archived") | (pl.col("xero_status") == "archived")
    outside = ~(pl.col("salesforce_open") & pl.col("xero_open"))
    return (
        pl.when("linked")
        .then(pl.lit("score"))
        .when(archived)
        .then(pl.lit("archived"))
        .when(outside)
        .then(pl.lit("out_of_scope"))
        .when(taken)
        .then(pl.lit("duplicate"))
        .otherwise(pl.lit("score"))
    )


def _lead(name: str) -> pl.Expr:
    """By how many bits a pair leads the next best of its record; archived records don't compete."""
    weight = pl.when(pl.col("salesforce_open") & pl.col("xero_open")).then("weight")
    place = weight.rank("ordinal", descending=True).over(name)
    best = weight.max().over(name)
    second = weight.sort(descending=True, nulls_last=True).slice(1, 1).first().over(name)
    return (weight - pl.when(place == 1).then(second).otherwise(best)).fill_null(float("inf"))


# --- By evidence: persons -----------------------------------------------------------------------------

NAME: Final = pl.Struct({"first": pl.String, "last": pl.String})
PERSON_BITS: Final = {
    "name": {"exact": 9.0, "initial": 7.0, "similar": 4.0, "unlike": -6.0},
    "email": {"equal": 14.0, "differs": -1.0},
}
BY_NAME: Final = 0.97
# One mailbox under two names may be two people: that is asked.
UNLIKE_NAMES: Final = (pl.col("name_level") == "unlike").fill_null(False)
PERHAPS: Final = 0.6


def _find_persons(
    nodes: pl.DataFrame,
    values: pl.DataFrame,
    refused: pl.DataFrame,
    parents: pl.DataFrame | None,
    thresholds: Thresholds,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the pairs of persons that are linked or proposed: FOUND."""
    people = _people(nodes, values)
    parties = conform(parents if parents is not None else empty(LINKS), LINKS).select(
        salesforce_party="salesforce_id", xero_party="xero_id"
    )
    here, there = (
        people.filter(pl.col("side") == side).drop("side").select(pl.all().name.prefix(f"{side}_"))
        for side in OTHER
    )
    inside = here.join(
        parties, left_on="salesforce_parent_id", right_on="salesforce_party", how="inner", validate="m:1"
    ).join(there, left_on="xero_party", right_on="xero_parent_id", how="inner")
    by_mail = here.join(there, left_on="salesforce_email", right_on="xero_email", how="inner", coalesce=False)
    outside = by_mail.join(inside, on=["salesforce_record_id", "xero_record_id"], how="anti").with_columns(
        salesforce_party_linked=pl.col("salesforce_parent_id")
        .is_in(parties["salesforce_party"].implode())
        .fill_null(False),
        xero_party_linked=pl.col("xero_parent_id").is_in(parties["xero_party"].implode()).fill_null(False),
    )
    pairs = pl.concat([_decide_inside(_compared(inside)), _decide_outside(_compared(outside))])
    return pairs.join(refused, on=PAIR, how="anti"), empty({"side": SIDE, "record_id": pl.String})


def _people(nodes: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    seen = values.filter("observed", pl.col("value").is_not_null())
    names = seen.filter(pl.col("kind") == "person_name").with_columns(
        name=pl.col("value").str.json_decode(NAME)
    )
    first, last = (_fold_person(pl.col("name").struct.field(part)) for part in ("first", "last"))
    whole = names.select(
        "side",
        "record_id",
        first=first,
        last=last,
        full_name=pl.concat_str(first, last, separator=" ", ignore_nulls=True),
    )
    mails = (
        seen.filter(pl.col("kind") == "email")
        .select("side", "record_id", email="value")
        .unique(["side", "record_id"])
    )
    people = nodes.filter("alive").select("side", "record_id", "parent_id", "linkable", "open")
    for part in (whole, mails):
        people = people.join(
            part, on=["side", "record_id"], how="left", validate="1:1", maintain_order="left"
        )
    mail_holders = pl.when(pl.col("email").is_not_null() & pl.col("open")).then(
        pl.len().over("side", "email", "open")
    )
    return people.with_columns(
        mail_holders=mail_holders,
        mail_in_party=pl.col("open").sum().over("side", "parent_id", "email"),
        name_in_party=pl.col("open").sum().over("side", "parent_id", "full_name"),
        last_in_party=pl.col("open").sum().over("side", "parent_id", "last"),
    )


def _fold_person(name: pl.Expr) -> pl.Expr:
    plain = name.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    return plain.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars(" ")


def _compared(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add how e-mail and name compare: email_level, name_level (null = a side has none)."""
    likeness = pairwise(
        pairs["salesforce_full_name"], pairs["xero_full_name"], JaroWinkler.normalized_similarity
    )
    same_last = (pl.col("salesforce_last") == pl.col("xero_last")).fill_null(False)
    similar = (pl.col("likeness") >= 0.88) | same_last
    initial = same_last & pl.any_horizontal(
        (pl.col(f"{side}_first").str.len_chars() == 1)
        & pl.col(f"{OTHER[side]}_first").str.starts_with(pl.col(f"{side}_first"))
        for side in OTHER
    ).fill_null(False)
    same = pl.col("salesforce_full_name") == pl.col("xero_full_name")
    mail = pl.col("salesforce_email") == pl.col("xero_email")
    levels = (
        pl.when(same)
        .then(pl.lit("exact"))
        .when(same.is_null())
        .then(None)
        .when(initial)
        .then(pl.lit("initial"))
        .when(similar)
        .then(pl.lit("similar"))
        .otherwise(pl.lit("unlike"))
    )
    leveled = pairs.with_columns(likeness=likeness.cast(pl.Float64)).with_columns(
        name_level=levels, email_level=pl.when(mail).then(pl.lit("equal")).when(~mail).then(pl.lit("differs"))
    )
    weights = [
        pl.col(f"{kind}_level").replace_strict(bits, return_dtype=pl.Float64).alias(f"{kind}_weight")
        for kind, bits in PERSON_BITS.items()
    ]
    return leveled.with_columns(weights).with_columns(evidence=evidence(PERSON_BITS))


def _decide_inside(pairs: pl.DataFrame) -> pl.DataFrame:
    """Within a linked party: by an e-mail that one person on each side has, then by such a name; else ask."""
    both_free = pl.col("salesforce_linkable") & pl.col("xero_linkable")
    once = {
        kind: (pl.col(f"salesforce_{kind}_in_party") == 1) & (pl.col(f"xero_{kind}_in_party") == 1)
        for kind in ("mail", "name", "last")
    }
    by_mail = (pl.col("email_level") == "equal").fill_null(False) & once["mail"] & ~UNLIKE_NAMES
    by_name = ((pl.col("name_level") == "exact") & once["name"]).fill_null(False) | (
        (pl.col("name_level") == "initial") & once["last"]
    ).fill_null(False)
    found = pairs.filter(both_free).with_columns(by_mail=by_mail, by_name=by_name, either=by_mail | by_name)
    # E-mail says one and the name another: then neither does.
    alone = pl.all_horizontal(pl.col("either").sum().over(f"{side}_record_id") == 1 for side in OTHER)
    found = found.with_columns(link=pl.col("either") & alone)
    settled = pl.any_horizontal(pl.col("link").any().over(f"{side}_record_id") for side in OTHER)
    maybe = (
        pl.col("either")
        | pl.col("name_level").is_in(["exact", "initial", "similar"])
        | (pl.col("email_level") == "equal")
    )
    return _people_found(
        found.with_columns(review=maybe.fill_null(False) & ~settled),
        rule=pl.when("by_mail")
        .then(pl.lit("email"))
        .when("by_name")
        .then(pl.lit("name"))
        .otherwise(pl.lit("score")),
        score=pl.when("by_mail").then(1.0).when("by_name").then(BY_NAME).otherwise(PERHAPS),
    )


def _decide_outside(pairs: pl.DataFrame) -> pl.DataFrame:
    """By an e-mail that nobody else has; where a party or the name speaks against it, ask."""
    both_free = pl.col("salesforce_linkable") & pl.col("xero_linkable")
    unique = (pl.col("salesforce_mail_holders") == 1) & (pl.col("xero_mail_holders") == 1)
    elsewhere = pl.col("salesforce_party_linked") | pl.col("xero_party_linked") | UNLIKE_NAMES
    found = pairs.filter(both_free & unique.fill_null(False))
    return _people_found(
        found.with_columns(link=~elsewhere, review=elsewhere),
        rule=pl.when("link").then(pl.lit("email")).otherwise(pl.lit("other_party")),
        score=pl.when("link").then(1.0).otherwise(PERHAPS),
    )


def _people_found(pairs: pl.DataFrame, *, rule: pl.Expr, score: pl.Expr) -> pl.DataFrame:
    verdict = pl.when("link").then(pl.lit("link")).when("review").then(pl.lit("review"))
    return (
        pairs.select(
            salesforce_id="salesforce_record_id",
            xero_id="xero_record_id",
            rule=rule,
            score=score,
            evidence="evidence",
            verdict=verdict,
        )
        .filter(pl.col("verdict").is_not_null())
        .pipe(conform, FOUND)
    )


# --- Products -----------------------------------------------------------------------------------------


def _find_products(
    nodes: pl.DataFrame,
    values: pl.DataFrame,
    refused: pl.DataFrame,
    parents: pl.DataFrame | None,
    thresholds: Thresholds,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    return conform(find_products(nodes, values, refused), FOUND), empty(
        {"side": SIDE, "record_id": pl.String}
    )


def _find_prices(
    nodes: pl.DataFrame,
    values: pl.DataFrame,
    refused: pl.DataFrame,
    parents: pl.DataFrame | None,
    thresholds: Thresholds,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    return conform(find_prices(nodes, parents, refused), FOUND), empty({"side": SIDE, "record_id": pl.String})


# By the entity: what gives the pairs that are linked or proposed, and whom nobody could compare.
FINDERS: Final = {
    "party": _find_parties,
    "person": _find_persons,
    "product": _find_products,
    "price": _find_prices,
}


# --- Putting it together ------------------------------------------------------------------------------


def _with_standing(nodes: pl.DataFrame, by_id: _ById) -> pl.DataFrame:
    """Add to the records: linked, incident, linkable (active, in scope, nothing decided or asked yet)."""
    marked = nodes
    for name, ends in {
        "linked": _ends(by_id.pairs),
        "incident": _ends(by_id.incidents),
        "held": _ends(by_id.review, by_id.gone),
    }.items():
        marked = marked.join(
            ends.with_columns(pl.lit(True).alias(name)),
            on=["side", "record_id"],
            how="left",
            validate="1:1",
            maintain_order="left",
        ).with_columns(pl.col(name).fill_null(False))
    return marked.with_columns(linkable=pl.col("open") & ~pl.any_horizontal("linked", "incident", "held"))


def fingerprints(values: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs with their fingerprint, which changes when a mapped value of either record does.

    Takes VALUES and salesforce_id, xero_id. Order kept.
    """
    wanted = _ends(pairs)
    texts = (
        values.filter("observed")
        .join(wanted, on=["side", "record_id"], how="semi")
        .sort("side", "record_id", "unit")
        .group_by("side", "record_id", maintain_order=True)
        .agg(text=pl.concat_str("unit", pl.col("native").fill_null(""), separator="=").str.join("\n"))
    )
    whole = pairs
    for side in OTHER:
        own = texts.filter(pl.col("side") == side).select(
            pl.col("record_id").alias(f"{side}_id"), pl.col("text").alias(f"{side}_text")
        )
        whole = whole.join(own, on=f"{side}_id", how="left", validate="m:1", maintain_order="left")
    both = pl.concat_str(
        pl.col("salesforce_text").fill_null(""), pl.col("xero_text").fill_null(""), separator="\n--\n"
    )
    # sha256, since a stored hash must outlive the version of Polars; only of what is reviewed or refused.
    texts_of_pairs = whole.select(both=both)["both"].to_list()
    marks = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts_of_pairs]
    return pairs.with_columns(pl.Series("fingerprint", marks, dtype=pl.String))


def _refused(said: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs that a person refused and that have not changed since."""
    refusals = (
        said.filter(pl.col("kind") == "refuse_link").drop_nulls(PAIR).select(*PAIR, refused_at="fingerprint")
    )
    now = fingerprints(values, refusals)
    return now.filter(pl.col("fingerprint") == pl.col("refused_at")).select(PAIR).unique()


def _known_rows(pairs: pl.DataFrame, known: pl.DataFrame, said: pl.DataFrame, entity: str) -> pl.DataFrame:
    """Give LINKS of pairs that ids or a person decided; what the journal knows stays as it was written."""
    by_whom = said.filter(pl.col("kind") == "accept_link").select(*PAIR, accepted_by="made_by")
    rows = (
        pairs.with_columns(link_id=_link_id(entity))
        .join(
            known.select("link_id", "rule", "score", "evidence", "made_by"),
            on="link_id",
            how="left",
            suffix="_then",
        )
        .join(by_whom, on=PAIR, how="left")
        .with_columns(
            rule=pl.coalesce("rule_then", "rule"),
            score=pl.col("score").fill_null(1.0),
            evidence=pl.col("evidence").fill_null("{}"),
            made_by=pl.coalesce(
                "made_by", pl.when(pl.col("rule") == "accepted").then("accepted_by"), pl.lit(MADE_BY)
            ),
            entity=pl.lit(entity),
            status=pl.lit("linked"),
        )
    )
    return conform(rows, LINKS)


def _found_rows(found: pl.DataFrame, status: str, entity: str) -> pl.DataFrame:
    verdict = {"linked": "link", "review": "review"}[status]
    rows = found.filter(pl.col("verdict") == verdict).with_columns(
        link_id=_link_id(entity), entity=pl.lit(entity), status=pl.lit(status), made_by=pl.lit(MADE_BY)
    )
    return conform(rows, LINKS)


def _asked_rows(pairs: pl.DataFrame, entity: str) -> pl.DataFrame:
    rows = pairs.with_columns(
        link_id=_link_id(entity),
        entity=pl.lit(entity),
        status=pl.lit("review"),
        evidence=pl.lit("{}"),
        made_by=pl.lit(MADE_BY),
    )
    return conform(rows, LINKS)


def _link_id(entity: str) -> pl.Expr:
    return pl.concat_str(pl.lit(entity), *PAIR, separator=":")


def _unmatched(
    nodes: pl.DataFrame,
    links: pl.DataFrame,
    review: pl.DataFrame,
    by_id: _ById,
    crowded: pl.DataFrame,
    parents: pl.DataFrame | None,
    entity: str,
) -> pl.DataFrame:
    """Give the active records in scope that have no link, and why: the first reason that holds."""
    lone = (
        nodes.filter("open")
        .select("side", "record_id")
        .join(_ends(links), on=["side", "record_id"], how="anti")
    )
    reasons = {
        "incident": _ends(by_id.incidents),
        "review": _ends(review),
        "partner_gone": by_id.gone,
        "too_many_alike": crowded,
        "parent_unlinked": _without_whole(nodes, parents) if entity in WHOLE_OF else crowded.clear(),
    }
    for why, ends in reasons.items():
        lone = lone.join(
            ends.select("side", "record_id").unique().with_columns(pl.lit(why).alias(why)),
            on=["side", "record_id"],
            how="left",
            validate="m:1",
        )
    rows = lone.select("side", "record_id", entity=pl.lit(entity), why=pl.coalesce(*reasons, pl.lit("new")))
    if entity == "price":  # it comes and goes with its product, of which it is told already
        rows = rows.filter(pl.col("why") != "parent_unlinked")
    return conform(rows, UNMATCHED).sort("side", "record_id")


def _without_whole(nodes: pl.DataFrame, parents: pl.DataFrame | None) -> pl.DataFrame:
    wholes = _ends(parents) if parents is not None else _ends()
    return nodes.join(
        wholes, left_on=["side", "parent_id"], right_on=["side", "record_id"], how="anti"
    ).select("side", "record_id")
