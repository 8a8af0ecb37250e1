"""Decides which records are made on the other side, and with what.

Only what has no counterpart and no likely one is ever made; who is in review, or carries an id that leads
nowhere, waits for a person. In Xero a person is no record of its own: the primary person is a name on its
contact, so a person is made there together with the contact, or by naming a contact that has no name yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from reconcile.bodies import dumps, merge_pieces
from reconcile.match import PAIR, REVIEW, fingerprints
from reconcile.model import DECISIONS, SIDES, conform
from reconcile.native import Limits, native_of, reference_piece, unfit
from reconcile.operations import (
    OTHER,
    PRIMARY,
    SHARED_EMAIL,
    SPOKEN,
    Part,
    Row,
    is_role_mailbox,
    operation,
    reject,
)

MAY_BE_MADE: Final = ("new", "parent_unlinked")
NAMED_BY_SERVER: Final = {("party", "xero"): ("Name",), ("product", "xero"): ("Code",)}


@dataclass
class Made:
    """What is to be made: operations, rejects, and rows for the review queue."""

    operations: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    review: list[pl.DataFrame] = field(default_factory=list)

    def refuse(self, part: Part, side: str, source: Source, unit: str, reason: str) -> None:
        self.rejects.append(
            reject(part, side=OTHER[side], record_id=source.record_id, unit=unit, reason=reason)
        )


@dataclass(frozen=True)
class Source:
    """A record from which another is made: unit -> (canonical, native) of what it has."""

    record_id: str
    parent_id: str | None
    values: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Known:
    """A part with what is looked up again and again."""

    part: Part
    limits: Mapping[str, Limits]
    references: Mapping[
        tuple[str, str], tuple[str | None, str | None]
    ]  # (side, record_id) -> (value, native)
    shown: Mapping[str, list[tuple[str, str]]]  # record of Xero -> its projections: (unit, canonical)
    showing: Mapping[
        str, dict[str, tuple[str | None, str | None]]
    ]  # of Salesforce -> unit -> (value, native)


def create_operations(
    parts: Mapping[str, Part],
    limits: Mapping[str, Mapping[str, Limits]],
    decisions: pl.DataFrame,
    makers: Mapping[str, str],
    planned: Sequence[Row],
    needed: frozenset[str] = frozenset(),
    products: frozenset[str] = frozenset(),
) -> Made:
    """Give what is made: of parties on both sides, then of persons, then of products in Xero.

    `limits`: entity -> side -> what the schema demands. `makers`: new link -> the operation that makes it.
    `planned`: the operations on linked records. `needed`: the accounts that a document needs as contacts; only
    theirs are made on demand, each with its one person. `products`: likewise those that a line needs as items.
    """
    made = Made()
    known = {entity: _known(part, limits[entity]) for entity, part in parts.items()}
    sources = {
        (entity, side): _sources(part, side, decisions, made)
        for entity, part in parts.items()
        for side in SIDES
        if part.mapping.create[side] in ("ask", "always")
    }
    for entity, part in parts.items():
        wanted = products if entity == "product" else needed
        if part.mapping.create["xero"] == "on_demand" and wanted:
            sources[entity, "xero"] = _on_demand(part, wanted)
    alone = _alone_in_party(parts, sources.get(("person", "xero"), []))
    new_parties: dict[str, str] = {}  # source record -> operation that makes its counterpart
    if "party" in parts:
        _make_parties_in_salesforce(
            known["party"], sources.get(("party", "salesforce"), []), new_parties, made
        )
        _make_parties_in_xero(known, sources.get(("party", "xero"), []), alone, made)
    if {"party", "person"} <= parts.keys():
        persons = sources.get(("person", "salesforce"), [])
        _make_persons_in_salesforce(known, persons, new_parties, makers, made)
        _name_contacts(known, alone, _nameless(known, planned), makers, made)
    if "product" in parts:
        _make_items(known, sources.get(("product", "xero"), []), made)
    return made


def _known(part: Part, limits: Mapping[str, Limits]) -> Known:
    held = part.references.select("side", "record_id", "value", "native")
    told = part.projections.filter("observed", pl.col("side") == "xero", pl.col("value").is_not_null())
    shown: dict[str, list[tuple[str, str]]] = {}
    for record_id, unit, value in told.select("record_id", "unit", "value").iter_rows():
        shown.setdefault(record_id, []).append((unit, value))
    references = {(side, record_id): (value, native) for side, record_id, value, native in held.iter_rows()}
    seen = part.projections.filter("observed", pl.col("side") == "salesforce")
    showing: dict[str, dict[str, tuple[str | None, str | None]]] = {}
    for record_id, unit, value, native in seen.select("record_id", "unit", "value", "native").iter_rows():
        showing.setdefault(record_id, {})[unit] = (value, native)
    return Known(part, limits, references, shown, showing)


# --- Who ----------------------------------------------------------------------------------------------


def _sources(part: Part, side: str, decisions: pl.DataFrame, made: Made) -> list[Source]:
    """Give the records of the other side from which one is made on this side, in order of their names."""
    lone = _unmatched(part, OTHER[side])
    if part.mapping.create[side] == "ask":
        asked, lone = _asked(part, side, lone, decisions)
        made.review.append(asked)
    return _with_values(part, OTHER[side], lone)


def _on_demand(part: Part, needed: frozenset[str]) -> list[Source]:
    """Give the unlinked accounts that a document needs, or the persons of such."""
    who = pl.col("parent_id" if part.mapping.entity == "person" else "record_id")
    wanted = part.records.filter(pl.col("side") == "salesforce", who.is_in(list(needed))).select("record_id")
    lone = _unmatched(part, "salesforce").join(wanted, on="record_id", how="semi")
    return _with_values(part, "salesforce", lone)


def _unmatched(part: Part, source: str) -> pl.DataFrame:
    """Give record_id of the records of a side that have no counterpart and may get one."""
    lone = part.matches.unmatched.filter(pl.col("side") == source, pl.col("why").is_in(MAY_BE_MADE))
    allowed = part.context.filter(pl.col("creatable").fill_null(False)).select("record_id").unique()
    return lone.join(allowed, on="record_id", how="semi").select("record_id")


def _asked(
    part: Part, side: str, lone: pl.DataFrame, decisions: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part those whom a person is asked about (as rows of the review queue) from those already accepted."""
    own, other = f"{OTHER[side]}_id", f"{side}_id"
    pairs = lone.select(pl.col("record_id").alias(own), pl.lit(None, dtype=pl.String).alias(other)).select(
        PAIR
    )
    marked = fingerprints(part.values, pairs)
    said = conform(decisions, DECISIONS).filter(
        pl.col("entity") == part.mapping.entity, pl.col(other).is_null(), pl.col("unit").is_null()
    )
    last = said.sort("made_at").unique(own, keep="last").select(own, "kind", decided_at="fingerprint")
    known = marked.join(last, on=own, how="left", validate="1:1", maintain_order="left").with_columns(
        kind=pl.when(pl.col("fingerprint") == pl.col("decided_at")).then("kind")
    )
    rows = known.filter(pl.col("kind").is_null()).with_columns(
        link_id=pl.concat_str(
            pl.lit(part.mapping.entity), *(pl.col(name).fill_null("") for name in PAIR), separator=":"
        ),
        entity=pl.lit(part.mapping.entity),
        status=pl.lit("review"),
        rule=pl.lit("create"),
        evidence=pl.lit("{}"),
        made_by=pl.lit("reconcile"),
    )
    return conform(rows, REVIEW), known.filter(pl.col("kind") == "accept_link").select(record_id=own)


def _with_values(part: Part, side: str, lone: pl.DataFrame) -> list[Source]:
    seen = part.values.filter("observed", pl.col("side") == side, pl.col("value").is_not_null())
    held = seen.join(lone, on="record_id", how="semi").group_by("record_id").agg("unit", "value", "native")
    parents = part.records.filter(pl.col("side") == side).select("record_id", "parent_id")
    rows = held.join(parents, on="record_id", how="left", validate="1:1")
    sources = [
        Source(
            row["record_id"],
            row["parent_id"],
            {
                unit: (value, native)
                for unit, value, native in zip(row["unit"], row["value"], row["native"], strict=True)
            },
        )
        for row in rows.iter_rows(named=True)
    ]
    return sorted(
        sources, key=lambda source: (source.values.get("name", ("", ""))[0].casefold(), source.record_id)
    )


# --- With what ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Body:
    """What a new record is made with: pieces by unit, and canonical and source's native values likewise."""

    pieces: dict[str, str]
    after: dict[str, str]
    source: dict[str, str]


def _body(known: Known, side: str, source: Source, made: Made) -> Body | None:
    """Give what flows to the new record; null, with a reject, where what it needs is missing.

    A value that does not fit is left out and told; only what the record can't be made without stops it.
    """
    part, body = known.part, Body({}, {}, {})
    for unit in part.mapping.units:
        value, native = source.values.get(unit.name, (None, None))
        if value is None or native is None or not unit.receives(side):
            continue
        piece = native_of(value, unit, side, onto=None)
        reason = unfit(piece, unit, side, limits=known.limits[side])
        if reason:
            made.refuse(part, side, source, unit.name, reason)
            continue
        body.pieces[unit.name], body.after[unit.name], body.source[unit.name] = piece, value, native
    for name, value in known.shown.get(source.record_id, []) if side == "salesforce" else ():
        body.pieces[name], body.after[name] = (
            native_of(value, part.mapping.unit(name), side, onto=None),
            value,
        )
    lacking = _lacking(known, side, body)
    if lacking:
        what = (
            f"a new {part.mapping.side(side).object} in {SPOKEN[side]} needs {lacking}, and nothing gives it"
        )
        made.refuse(part, side, source, "record", what)
        return None
    return body


def _lacking(known: Known, side: str, body: Body) -> str:
    mapping = known.part.mapping
    if mapping.is_part(side):
        return ""  # the record that it is a part of is there, or is made with all that it needs
    given = {**mapping.side(side).defaults, **merge_pieces(body.pieces.values())}
    needed = {*known.limits[side].required, *NAMED_BY_SERVER.get((mapping.entity, side), ())}
    needed -= {"AccountId", mapping.side(side).reference or ""}
    return ", ".join(sorted(name for name in needed if given.get(name.partition(".")[0]) in (None, "")))


def _create(
    known: Known, side: str, source: Source, body: Body, extra: Mapping[str, Any], **rest: str | None
) -> Row:
    part, other = known.part, OTHER[side]
    flat = merge_pieces([*body.pieces.values(), reference_piece(part.mapping, side, source.record_id)])
    some = {name: value for name, value in flat.items() if value is not None}
    return operation(
        part,
        system=side,
        record_id=None,
        source_id=source.record_id,
        action="create",
        phase="create",
        unit="record",
        after=dumps(body.after),
        native_after=dumps({**part.mapping.side(side).defaults, **some, **extra}),
        source_native=dumps(body.source),
        reason=f"this {part.mapping.side(other).object} has no counterpart in {SPOKEN[side]}",
        rule=f"{part.mapping.at}: create.{side}: {part.mapping.create[side]}",
        match_rule="create",
        score=1.0,
        evidence="{}",
        **rest,
    )


def _link_back(known: Known, side: str, record_id: str, other_id: Any, depends_on: str) -> Row:
    """Write the new record's id into the record that it was made from."""
    part = known.part
    before, native = known.references.get((side, record_id), (None, None))
    told = other_id if isinstance(other_id, str) else dumps(other_id)
    return operation(
        part,
        system=side,
        record_id=record_id,
        source_id=other_id if isinstance(other_id, str) else None,
        action="link",
        phase="create",
        unit="reference",
        before=before,
        after=told,
        native_before=native,
        native_after=dumps({part.mapping.side(side).reference: other_id}),
        reason=f"it carries the id of the record that is made of it in {SPOKEN[OTHER[side]]}",
        rule="create",
        match_rule="create",
        score=1.0,
        evidence="{}",
        depends_on=depends_on,
    )


# --- Parties ------------------------------------------------------------------------------------------


def _make_parties_in_salesforce(
    known: Known, sources: list[Source], new_parties: dict[str, str], made: Made
) -> None:
    for source in sources:
        body = _body(known, "salesforce", source, made)
        if body is None:
            continue
        create = _create(known, "salesforce", source, body, {})
        new_parties[source.record_id] = create["operation_id"]
        made.operations.append(create)
        # A number of somebody else's in ContactNumber stays: then only Salesforce carries the link.
        free = known.references.get(("xero", source.record_id), (None, None))[0] is None
        if known.part.mapping.xero.reference and free:
            made.operations.append(
                _link_back(
                    known, "xero", source.record_id, {"$from": create["operation_id"]}, create["operation_id"]
                )
            )


def _make_parties_in_xero(
    known: Mapping[str, Known], sources: list[Source], alone: Mapping[str, Source], made: Made
) -> None:
    party = known["party"]
    names = _active_names(party.part)
    for source in sources:
        body = _body(party, "xero", source, made)
        if body is None:
            continue
        name = body.after["name"].casefold() if "name" in body.after else ""
        if name in names:
            reason = "another active contact in Xero has this name, and Xero takes each name once"
            made.refuse(party.part, "xero", source, "name", reason)
            continue
        names.add(name)
        person = alone.get(source.record_id)
        extra = _named_with(known, body, person) if person else None
        create = _create(party, "xero", source, body, extra or {})
        made.operations.append(create)
        made.operations += _shown_of_new(party, source.record_id, create["operation_id"])
        made.operations += _links_back(known, source, person if extra else None, create["operation_id"])


def _links_back(known: Mapping[str, Known], source: Source, person: Source | None, made_by: str) -> list[Row]:
    found: list[Row] = []
    if known["party"].part.mapping.salesforce.reference:
        found.append(_link_back(known["party"], "salesforce", source.record_id, {"$from": made_by}, made_by))
    if person is not None and known["person"].part.mapping.salesforce.reference:
        primary = {"$from": made_by, "suffix": PRIMARY}
        found.append(_link_back(known["person"], "salesforce", person.record_id, primary, made_by))
    return found


NEW_IN_XERO: Final = {"status": "active", "is_customer": "false", "is_supplier": "false", "groups": None}


def _shown_of_new(known: Known, account: str, made_by: str) -> list[Row]:
    """Show in Salesforce what is true of every new contact, so that the next plan has nothing left to show."""
    part = known.part
    now = known.showing.get(account, {})
    found: list[Row] = []
    for projection in part.mapping.projections:
        before, native = now.get(projection.name, (None, None))
        after = NEW_IN_XERO[projection.from_]
        if native is None or before == after:
            continue
        found.append(
            operation(
                part,
                system="salesforce",
                record_id=account,
                source_id=None,
                action="update",
                phase="change",
                unit=projection.name,
                before=before,
                after=after,
                native_before=native,
                native_after=native_of(after, projection.unit, "salesforce", onto=native),
                reason=f"{projection.name.replace('_', ' ')}: Salesforce shows what Xero knows",
                rule=f"projection {projection.at}",
                depends_on=made_by,
            )
        )
    return found


def _active_names(part: Part) -> set[str]:
    active = part.records.filter(pl.col("side") == "xero", pl.col("status") == "active").select("record_id")
    named = part.values.filter(
        pl.col("side") == "xero", pl.col("unit") == "name", pl.col("value").is_not_null()
    )
    return {value.casefold() for value in named.join(active, on="record_id", how="semi")["value"]}


# --- Persons ------------------------------------------------------------------------------------------


def _alone_in_party(parts: Mapping[str, Part], sources: list[Source]) -> dict[str, Source]:
    """Give Account -> the person to name in Xero, where the account has that one active person only.

    Of several nobody can tell who is the primary one: then Xero's contact stays without a name.
    """
    if "person" not in parts:
        return {}
    active = parts["person"].records.filter(pl.col("side") == "salesforce", pl.col("status") == "active")
    counts = dict(active.drop_nulls("parent_id").group_by("parent_id").len().iter_rows())
    return {s.parent_id: s for s in sources if s.parent_id is not None and counts.get(s.parent_id) == 1}


def _named_with(known: Mapping[str, Known], body: Body, person: Source) -> dict[str, Any] | None:
    """Give what makes a new contact carry its person too; null where that would misplace an e-mail."""
    own = Made()
    pieces = _body(known["person"], "xero", person, own)
    if pieces is None or "name" not in pieces.after or own.rejects:
        return None
    mail = _mail_of(person)
    company = _mail(known["party"].part, body.after)
    if not _stays_in_hands(company, mail):
        return None
    whole = merge_pieces(pieces.pieces.values())
    body.after["primary person"] = pieces.after["name"]
    if company is not None or mail is None or is_role_mailbox(mail):
        whole.pop(SHARED_EMAIL[0], None)
    return whole


def _stays_in_hands(company: str | None, person: str | None) -> bool:
    """True where the contact's address means the same after its primary person got a name.

    A desk's address stays the company's; any other becomes the person's, and must be so in Salesforce too.
    """
    return company is None or is_role_mailbox(company) or company == person


def _mail(part: Part, values: Mapping[str, str]) -> str | None:
    shared = [unit.name for unit in part.mapping.units if unit.xero == SHARED_EMAIL]
    return next((values[name] for name in shared if name in values), None)


def _mail_of(source: Source) -> str | None:
    return source.values["email"][0] if "email" in source.values else None


def _make_persons_in_salesforce(
    known: Mapping[str, Known],
    sources: list[Source],
    new_parties: Mapping[str, str],
    makers: Mapping[str, str],
    made: Made,
) -> None:
    """Make a Contact of a primary person whose party is linked, or is made by this plan."""
    person, accounts = known["person"], _accounts(known["party"].part)
    for source in sources:
        party = source.parent_id or ""
        creates = new_parties.get(party)
        linked, link = accounts.get(party, (None, ""))
        account = linked or ({"$from": creates} if creates else None)
        if account is None:
            continue
        body = _body(person, "salesforce", source, made)
        if body is not None:
            made.operations.append(
                _create(
                    person,
                    "salesforce",
                    source,
                    body,
                    {"AccountId": account},
                    depends_on=creates if linked is None else makers.get(link),
                )
            )


def _accounts(party: Part) -> dict[str, tuple[str, str]]:
    """Contact in Xero -> the active Account that it is linked to, and the link."""
    active = party.records.filter(pl.col("side") == "salesforce", pl.col("status") == "active")
    links = party.matches.links.join(active, left_on="salesforce_id", right_on="record_id", how="semi")
    return {xero: (account, link) for xero, account, link in links.select(*PAIR[::-1], "link_id").iter_rows()}


def _name_contacts(
    known: Mapping[str, Known],
    alone: Mapping[str, Source],
    nameless: Mapping[str, str | None],
    makers: Mapping[str, str],
    made: Made,
) -> None:
    """Name linked contacts in Xero that have no primary person yet, after their account's one person."""
    person, party = known["person"], known["party"].part
    for row in party.matches.links.select("salesforce_id", "xero_id", "link_id").iter_rows(named=True):
        source = alone.get(row["salesforce_id"])
        if source is None or row["xero_id"] not in nameless:
            continue
        company, mail = nameless[row["xero_id"]], _mail_of(source)
        body = _body(person, "xero", source, made) if _stays_in_hands(company, mail) else None
        if body is None or "name" not in body.after:
            continue
        made.operations += _naming(
            known["person"], source, row["xero_id"], body, company, makers.get(row["link_id"])
        )


def _nameless(known: Mapping[str, Known], planned: Sequence[Row]) -> dict[str, str | None]:
    """Active contacts in Xero without a primary person -> their e-mail address once the plan is made."""
    party = known["party"].part
    named = known["person"].part.records.filter(pl.col("side") == "xero").select(record_id="parent_id")
    active = party.records.filter(
        pl.col("side") == "xero", pl.col("status") == "active", pl.col("in_scope").fill_null(False)
    )
    shared = [unit.name for unit in party.mapping.units if unit.xero == SHARED_EMAIL]
    mails = party.values.filter(pl.col("side") == "xero", pl.col("unit").is_in(shared)).select(
        "record_id", "value"
    )
    lone = active.join(named, on="record_id", how="anti").join(mails, on="record_id", how="left")
    to_be = {
        row["record_id"]: row["after"]
        for row in planned
        if row["system"] == "xero" and row["entity"] == "party" and row["unit"] in shared
    }
    return {
        contact: to_be.get(contact, mail) for contact, mail in lone.select("record_id", "value").iter_rows()
    }


def _naming(
    person: Known, source: Source, contact: str, body: Body, company: str | None, maker: str | None
) -> list[Row]:
    mapping = person.part.mapping
    link = f"person:{source.record_id}:{contact}{PRIMARY}"
    found: list[Row] = []
    for unit in mapping.units:
        mail = body.after.get(unit.name) if unit.xero == SHARED_EMAIL else None
        if unit.name not in body.after or (
            mail is not None and (company is not None or is_role_mailbox(mail))
        ):
            continue
        found.append(
            operation(
                person.part,
                system="xero",
                record_id=contact + PRIMARY,
                source_id=source.record_id,
                link_id=link,
                action="update",
                phase="create",
                unit=unit.name,
                before=None,
                after=body.after[unit.name],
                native_before=native_of(None, unit, "xero", onto=None),
                native_after=body.pieces[unit.name],
                source_native=body.source[unit.name],
                reason="the contact in Xero has no primary person, and its account has this one",
                rule=f"{mapping.at}: create.xero: {mapping.create['xero']}",
                match_rule="create",
                score=1.0,
                evidence="{}",
                depends_on=maker,
            )
        )
    if found and mapping.salesforce.reference:
        found.append(
            _link_back(person, "salesforce", source.record_id, contact + PRIMARY, found[0]["operation_id"])
            | {"link_id": link}
        )
    return found


# --- Products -----------------------------------------------------------------------------------------


def _make_items(known: Mapping[str, Known], sources: list[Source], made: Made) -> None:
    """Make an item of each product, with its price; two that would have one code are told, and neither is made."""
    product, code = known["product"], known["product"].part.mapping.code_unit.name
    taken = _codes_taken(product.part, code)
    shared = Counter(source.values[code][0].casefold() for source in sources if code in source.values)
    for source in sources:
        mine = source.values[code][0].casefold() if code in source.values else ""
        if mine in taken:
            made.refuse(product.part, "xero", source, code, "another item in Xero has this code already")
        elif shared[mine] > 1:
            made.refuse(product.part, "xero", source, code, SHARED_CODE)
        elif (body := _body(product, "xero", source, made)) is not None:
            _with_price(known, source, body, made)
            create = _create(product, "xero", source, body, {})
            made.operations.append(create)
            if product.part.mapping.salesforce.reference:
                which = create["operation_id"]
                back = _link_back(product, "salesforce", source.record_id, {"$from": which}, which)
                made.operations.append(back)


SHARED_CODE: Final = (
    "another product has this code, or one that is the same once it is shortened; Xero takes each code once"
)


def _codes_taken(part: Part, code: str) -> set[str]:
    """The codes of all items, in small letters: whether Xero minds the case is unconfirmed."""
    there = part.records.filter(pl.col("side") == "xero", pl.col("status") == "active").select("record_id")
    held = part.values.filter(
        pl.col("side") == "xero", pl.col("unit") == code, pl.col("value").is_not_null()
    ).join(there, on="record_id", how="semi")
    return {value.casefold() for value in held["value"]}


def _with_price(known: Mapping[str, Known], source: Source, body: Body, made: Made) -> None:
    """Add the price of a product to its new item."""
    if "price" not in known:
        return
    part = known["price"].part
    mine = part.records.filter(
        pl.col("side") == "salesforce",
        pl.col("parent_id") == source.record_id,
        pl.col("status") == "active",
        pl.col("in_scope").fill_null(False),
    )
    for price in _with_values(part, "salesforce", mine.select("record_id")):
        priced = _body(known["price"], "xero", price, made)
        if priced is not None:
            body.pieces.update(priced.pieces)
            body.after.update(priced.after)
