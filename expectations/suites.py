"""What is expected of each stage's rows, written down as tables and checks on their columns.

A *row check* judges rows one by one: where it is critical, its rows are set aside and the others go on.
A *whole check* judges a table as such (its keys, a count, a share): where it is critical, the run stops,
for no single row is to blame. A warning never stops and never sets aside.

A suite makes one table by SQL from the stage's frames, so that what needs a join or a window becomes a
column, and Great Expectations then judges columns. A column whose name ends in `_fault` is null where all
is well. Nothing here imports Great Expectations: a check names its class and arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from reconcile.mapped import SETTLING

DEFAULTS: Final[Mapping[str, Any]] = {
    "tolerable_share": 0.05,  # of a table's rows that may be set aside before the run stops
    "floor": 20,  # shares say nothing about fewer rows than this
    "smallest_share": 0.8,  # of the previous snapshot's rows
    "tombstone_share": 0.2,
    "fresh_h": 48,
    "clock_skew_h": 1,
    "max_operations": 5000,
    "max_share": 0.5,  # of the linked records of one system that a plan changes
    "mass_share": 0.25,  # of all links in which one unit is changed
    "clearing_share": 0.05,  # of all links in which one unit is emptied
    "projections": (),  # units that are shown and not merged
    "allowed": (),  # whole checks that a person let pass
}

Scope = Literal["row", "whole"]
Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True)
class Check:
    """One expectation: what it says to a person, and what it asks of Great Expectations."""

    name: str
    scope: Scope
    severity: Severity
    says: str  # the sentence after "expected"
    expectation: str  # the class in great_expectations.expectations
    arguments: Mapping[str, Any]  # {"$PARAMETER": name} is filled in when the suite runs


@dataclass(frozen=True)
class Suite:
    """A table made by `sql`, with the column that names its rows, and the checks on it."""

    stage: str
    table: str
    sql: str
    key: str
    checks: tuple[Check, ...]
    side: str | None = None
    entity: str | None = None  # in the raw stage the vendor's object
    names_records: bool = True  # whether `key` holds ids, rather than the names of units or objects
    binds: frozenset[str] = field(default_factory=frozenset)


# --- the words that suites are written with -----------------------------------------------------------


def present(column: str) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToNotBeNull", {"column": column}


def absent(column: str) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeNull", {"column": column}


def unique(column: str) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeUnique", {"column": column}


def matches(column: str, pattern: str) -> tuple[str, dict[str, Any]]:
    # DuckDB's ~ matches the whole string; the anchors say so to a reader too.
    return "ExpectColumnValuesToMatchRegex", {"column": column, "regex": f"^{pattern}$"}


def among(column: str, values: list[Any]) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeInSet", {"column": column, "value_set": values}


def none_of(column: str, values: list[Any]) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToNotBeInSet", {"column": column, "value_set": values}


def at_most(column: str, parameter: str) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeBetween", {"column": column, "max_value": {"$PARAMETER": parameter}}


def at_least(column: str, parameter: str) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeBetween", {"column": column, "min_value": {"$PARAMETER": parameter}}


def row(name: str, says: str, of: tuple[str, dict[str, Any]], severity: Severity = "critical") -> Check:
    return Check(name, "row", severity, says, *of)


def whole(name: str, says: str, of: tuple[str, dict[str, Any]], severity: Severity = "critical") -> Check:
    return Check(name, "whole", severity, says, *of)


# --- raw ----------------------------------------------------------------------------------------------

GUID: Final = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
PREFIXES: Final = {
    "Account": "001", "Contact": "003", "Opportunity": "006", "OpportunityLineItem": "00k", "Order": "801",
    "OrderItem": "802",
}  # fmt: skip
# Where a body of Xero carries its own id.
XERO_IDS: Final = {
    "Invoice": "InvoiceID", "Account": "AccountID", "Item": "ItemID",
    **{name: id_field for name, (id_field,) in SETTLING.items()},
}  # fmt: skip

# The frame is registered as `frame`; id_path is where the vendor's body carries its own id.
RAW_ROWS: Final = """
    select
        record_id,
        modified_at::timestamp as modified_at,
        -- A tombstone may come without a body; a live record may not.
        case when deleted and body is null then true
            else coalesce(json_valid(body), false) end as body_is_json,
        case
            when not deleted and json_valid(body)
                and lower(coalesce(try(body ->> $id_path), '')) <> lower(record_id)
            then 'another record'
        end as body_fault
    from frame
"""

RAW_SNAPSHOTS: Final = "select * from frame"

RAW_SNAPSHOT_CHECKS: Final = (
    whole(
        "rows_not_lost",
        "a snapshot not much smaller than the one before",
        at_least("share_of_previous", "smallest_share"),
    ),
    whole(
        "few_tombstones",
        "no large part of the records deleted",
        at_most("tombstone_share", "tombstone_share"),
    ),
    whole("fresh", "a snapshot that is not old", at_most("age_h", "fresh_h"), "warning"),
)


def raw_suite(side: str, name: str) -> Suite:
    """Say what raw rows of one object must be: keys, forms, times and bodies."""
    form = GUID if side == "xero" else PREFIXES.get(name, "[A-Za-z0-9]{3}") + "[A-Za-z0-9]{15}"
    spelled = "a GUID" if side == "xero" else f"18 characters beginning {PREFIXES.get(name, 'with a prefix')}"
    checks = (
        whole("id_present", "every row has an id", present("record_id")),
        whole("id_unique", "one row an id", unique("record_id")),
        row("id_form", f"an id of the right form ({spelled})", matches("record_id", form)),
        row("modified_present", "every row says when it was modified", present("modified_at")),
        row("modified_in_the_past", "no modified time in the future", at_most("modified_at", "latest")),
        row("body_is_json", "a body that is JSON", among("body_is_json", [True])),
        row("body_is_of_record", "a body that carries the row's own id", absent("body_fault")),
    )
    table = f"raw_{side}_{name.lower()}"
    return Suite("raw", table, RAW_ROWS, "record_id", checks, side, name, binds=frozenset({"id_path"}))


def raw_snapshot_suite() -> Suite:
    """Say what each object's snapshot must be, compared with the one before it."""
    return Suite("raw", "raw_snapshots", RAW_SNAPSHOTS, "object", RAW_SNAPSHOT_CHECKS, names_records=False)


# --- canonical ----------------------------------------------------------------------------------------

# Line breaks and tabs are allowed; in JSON (addresses, names) a control character stands escaped.
# The last range turns the direction of what follows: an honest name does not need it.
CONTROL: Final = (
    r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]|\\u00[01][0-9a-fA-F]|\\u007[fF]|[\x{202A}-\x{202E}\x{2066}-\x{2069}]"
)
EMAIL: Final = r"[^@\s,;<>()\[\]]{1,64}@([^@\s.,;<>()\[\]]+\.)+[^@\s.,;<>()\[\]]{2,63}"
PHONE: Final = r"(\+[1-9][0-9]{4,14}(;ext=[0-9]{1,11})?|raw:.+)"

RECORD_ROWS: Final = """
    with
    own as (
        select *, status = 'active' and coalesce(in_scope, false) as lives
        from records
        where side = $side and entity = $entity
    ),
    names as (
        select record_id, bool_or(value is not null or not observed) as named
        from "values"
        where side = $side and entity = $entity and unit = 'name'
        group by record_id
    ),
    -- Salesforce writes one id in 15 or 18 characters; case carries no meaning in the other forms.
    folded as (
        select
            *,
            case when regexp_full_match(reference, '001[A-Za-z0-9]{12}([A-Za-z0-9]{3})?')
                then left(reference, 15) else lower(reference) end as one_reference
        from own
    )
    select
        record_id,
        status,
        case when status = 'merged' then coalesce(merged_into, '') end as survivor,
        case when lives and (select count(*) from names) > 0 and not coalesce(named, false)
            then 'nameless' end as name_fault,
        case when lives and reference is not null
                and count(*) filter (where lives) over (partition by one_reference) > 1
            then 'shared' end as reference_fault,
        case when lives and entity = 'person' and parent_id is null then 'no party' end as parent_fault
    from folded
    left join names using (record_id)
"""

VALUE_ROWS: Final = """
    with known as (
        select record_id, bool_or(status = 'active' and coalesce(in_scope, false)) as lives
        from records
        where side = $side and entity = $entity
        group by record_id
    )
    select
        record_id,
        record_id || ' ' || unit as one_unit,
        case when kind = 'email' and lives then value end as email,
        case when kind = 'phone' and lives then value end as phone,
        case when kind = 'address' and lives then try(value ->> '$.country') end as country,
        case when lives and regexp_matches(value, $control) then 'control character' end as control_fault,
        case when lives is null then 'no record' end as record_fault
    from "values"
    left join known using (record_id)
    where side = $side and entity = $entity
"""


def record_suite(side: str, entity: str, statuses: list[str]) -> Suite:
    """Say what the canonical records of one entity and side must be."""
    checks = [
        whole("record_unique", "one row a record", unique("record_id")),
        row("status_present", "every record has a status", present("status")),
        row("status_known", f"a status of the closed set ({', '.join(statuses)})", among("status", statuses)),
        row("survivor_named", "a merged record names its survivor", none_of("survivor", [""]), "warning"),
        row("name_present", "an active record in scope has a name", absent("name_fault")),
        row("reference_unique", "no two active records carry one id", absent("reference_fault")),
    ]
    if entity == "person":
        checks.append(
            row("parent_present", "an active person belongs to a party", absent("parent_fault"), "warning")
        )
    table = f"canonical_{side}_{entity}_records"
    binds = frozenset({"side", "entity"})
    return Suite("canonical", table, RECORD_ROWS, "record_id", tuple(checks), side, entity, binds=binds)


def value_suite(side: str, entity: str, countries: list[str]) -> Suite:
    """Say what the canonical values of one entity and side must be.

    Forms only warn here: a malformed e-mail that nobody is about to write does no harm, and one that the
    plan would write is caught there.
    """
    checks = (
        whole("unit_unique", "one value a record and unit", unique("one_unit")),
        whole("value_has_record", "every value belongs to a record", absent("record_fault")),
        row("email_form", "an e-mail address as local@domain", matches("email", EMAIL), "warning"),
        row("phone_form", "a phone in E.164, or as given behind raw:", matches("phone", PHONE), "warning"),
        row("country_iso", "a country as ISO 3166 alpha-2", among("country", countries), "warning"),
        row("no_control", "no control characters", absent("control_fault"), "warning"),
    )
    table = f"canonical_{side}_{entity}_values"
    binds = frozenset({"side", "entity", "control"})
    return Suite("canonical", table, VALUE_ROWS, "record_id", checks, side, entity, binds=binds)


# Of what is to be made: opportunities that get an invoice, and their lines. A fault of a line is its document's.
DOCUMENT_ROWS: Final = """
    with sums as (
        select document_id, count(*) as lines, sum(amount) as amount, sum(tax_amount) as tax
        from lines
        group by document_id
    )
    select
        d.record_id,
        d.date,
        d.account_id,
        d.currency,
        case when coalesce(s.lines, 0) = 0 then 'no lines' end as lines_fault,
        case when d.total is not null and d.total <> d.subtotal + d.total_tax then 'total'
            when d.total is not null and d.total_tax <> s.tax then 'tax'
            when s.amount not in (d.subtotal, d.total) then 'amount' end as sum_fault
    from documents d
    left join sums s on s.document_id = d.record_id
"""

LINE_ROWS: Final = """
    select
        document_id,
        description,
        case when quantity < 0 then 'negative' end as quantity_fault,
        case when quantity is null or unit_price is null or amount is null then 'missing' end as number_fault,
        case when regexp_matches(description, $control) then 'control character' end as control_fault
    from lines
"""


def document_suite(currencies: list[str]) -> Suite:
    """Say what an opportunity must be that becomes an invoice."""
    checks = (
        whole("document_unique", "one row an opportunity", unique("record_id")),
        row("document_dated", "a date", present("date")),
        row("document_has_account", "an account", present("account_id")),
        row("currency_iso", "a currency of ISO 4217", among("currency", currencies)),
        row("document_has_lines", "one line or more", absent("lines_fault")),
        row("sums_agree", "totals that are the sums of their lines", absent("sum_fault")),
    )
    return Suite(
        "canonical", "canonical_documents", DOCUMENT_ROWS, "record_id", checks, "salesforce", "document"
    )


def line_suite() -> Suite:
    """Say what the lines must be of which invoices are made."""
    checks = (
        row("line_described", "a description on every line", present("description")),
        row("line_priced", "quantity, unit price and amount on every line", absent("number_fault")),
        row("quantity_not_negative", "no quantity below zero", absent("quantity_fault")),
        row("no_control_in_line", "no control characters in a line", absent("control_fault")),
    )
    binds = frozenset({"control"})
    table = "canonical_document_lines"
    return Suite("canonical", table, LINE_ROWS, "document_id", checks, "salesforce", "document", binds=binds)


# --- plan ---------------------------------------------------------------------------------------------

# What no operation of ours may carry: it would archive, delete, or write what the vendor only lets read.
FORBIDDEN: Final = ["ContactStatus", "IsDeleted", "IsCustomer", "IsSupplier", "MasterRecordId"]

OPERATION_ROWS: Final = r"""
    with
    -- Names are folded as a person reads them: no case, accent or punctuation.
    names as (
        select
            v.side, v.entity, v.record_id, r.parent_id,
            regexp_replace(lower(strip_accents(v.value)), '[^\p{L}\p{N}]+', '', 'g') as name
        from "values" v
        join records r using (side, entity, record_id)
        where v.unit = 'name' and v.value is not null and r.status = 'active'
    ),
    creates as (
        select
            o.operation_id, o.system, o.entity,
            regexp_replace(
                lower(strip_accents(try(o.after ->> '$.name'))), '[^\p{L}\p{N}]+', '', 'g'
            ) as name,
            -- A person is a twin only within the party that it would belong to.
            case when o.system = 'xero' then l.xero_id else l.salesforce_id end as parent_id,
            s.parent_id as source_parent_id
        from operations o
        left join records s
            on s.record_id = o.source_id and s.side <> o.system and s.entity = o.entity
        left join links l
            on l.entity = 'party' and l.status = 'linked'
            and s.parent_id = case when o.system = 'xero' then l.salesforce_id else l.xero_id end
        where o.action = 'create'
    ),
    twins as (
        select distinct c.operation_id
        from creates c
        join names n
            on n.side = c.system and n.entity = c.entity and n.name = c.name
            and (c.entity = 'party' or n.parent_id = c.parent_id)
        where c.name <> ''
    ),
    doubles as (
        select operation_id
        from creates
        where name <> ''
        qualify count(*) over (
            partition by system, entity, name,
            case when entity = 'person' then coalesce(source_parent_id, operation_id) end
        ) > 1
    ),
    unit_of_record as (
        select operation_id
        from operations
        where record_id is not null
        qualify count(*) over (partition by system, entity, record_id, unit) > 1
    ),
    made_twice as (
        select operation_id
        from operations
        where action = 'create'
        qualify count(*) over (partition by system, entity, source_id) > 1
    ),
    targets as (select side, entity, record_id, any_value(status) as status from records group by all),
    kinds as (select entity, unit, any_value(kind) as kind from "values" group by all)
    select
        o.operation_id,
        o.system,
        o.action,
        o.phase,
        case when o.action <> 'create' and o.record_id is null then 'no record'
            when o.action = 'create' and o.record_id is not null then 'has a record' end as record_fault,
        -- The id of a record that this plan makes is not known yet: {"$from": operation_id}.
        case when o.action <> 'create' and o.before is not distinct from o.after
                and coalesce(o.native_after, '') not like '%"$from"%'
            then 'no change' end as change_fault,
        -- A person that a Xero contact does not have yet is made by writing into the contact.
        case when o.action <> 'create' and o.record_id is not null
                and coalesce(t.status, p.status, 'unknown') <> 'active'
            then coalesce(t.status, p.status, 'unknown') end as target_fault,
        -- Our id in ContactNumber may be renewed; a number that somebody else keeps there may not be lost.
        case when o.system = 'xero' and o.unit = 'reference' and o.before is not null
                and not regexp_full_match(o.before, '001[A-Za-z0-9]{12}([A-Za-z0-9]{3})?')
            then 'foreign number' end as reference_fault,
        case when o.operation_id in (from twins) then 'twin' end as twin_fault,
        case when o.operation_id in (from doubles) or o.operation_id in (from made_twice)
            then 'made twice' end as double_fault,
        case when o.operation_id in (from unit_of_record) then 'written twice' end as unit_fault,
        case when o.depends_on is not null and o.depends_on not in (select operation_id from operations)
            then 'unknown' end as dependency_fault,
        case when k.kind = 'email' then o.after end as email,
        case when regexp_matches(o.native_after, $control) then 'control character' end as control_fault
    from operations o
    left join targets t on t.side = o.system and t.entity = o.entity and t.record_id = o.record_id
    left join targets p
        on p.side = o.system and p.entity = 'party' and o.system = 'xero'
        and p.record_id || ':primary' = o.record_id
    left join kinds k on k.entity = o.entity and k.unit = o.unit
"""

# Each field that an operation sends, as a path like those of FIELDS: Phones.DEFAULT.PhoneNumber.
FIELD_ROWS: Final = r"""
    with
    sent as (
        select
            o.operation_id, o.system, o.object, o.native_after, j.fullkey, j.value ->> '$' as text,
            regexp_extract(
                j.fullkey, '^\$\.(Phones|Addresses)\[(\d+)\]\.(\w+)$', ['list', 'nth', 'leaf']
            ) as slot
        from operations o, json_tree(o.native_after) j
        where j.type not in ('OBJECT', 'ARRAY')
    ),
    named as (
        select
            *,
            case when slot.list = '' then replace(substr(fullkey, 3), '"', '')
                else concat_ws('.', slot.list, coalesce(
                    native_after ->> ('$.' || slot.list || '[' || slot.nth || '].PhoneType'),
                    native_after ->> ('$.' || slot.list || '[' || slot.nth || '].AddressType')
                ), slot.leaf) end as field
        from sent
    )
    select
        n.operation_id,
        n.field,
        case when length(n.text) > f.length then 'too long' end as length_fault
    from named n
    left join (
        select side, object, field, min(length) as length from fields group by all
    ) f on f.side = n.system and f.object = n.object and f.field = n.field
"""

SYSTEM_ROWS: Final = """
    with
    touched as (
        select
            system,
            count(*) as operations,
            count(distinct record_id) filter (where phase in ('settle', 'change')) as records
        from operations
        group by system
    ),
    linked as (select count(*) as links from links where status = 'linked')
    select
        system,
        operations,
        case when records > $floor then records / greatest(links, 1) else 0 end as share
    from touched, linked
"""

# Filling blanks and settling first differences have approvals of their own; projections follow the ledger
# wherever it leads. What is left is a change of what was agreed, and emptying loses something in any phase.
UNIT_ROWS: Final = """
    with
    changed as (
        select
            system, entity, unit,
            count(distinct record_id) filter (where phase = 'change') as records,
            count(distinct record_id) filter (where coalesce(after, '') = '') as emptied
        from operations
        where action = 'update' and not list_contains($projections, unit)
        group by all
    ),
    linked as (select entity, count(*) as links from links where status = 'linked' group by all)
    select
        concat_ws(' ', system, entity, unit) as unit,
        case when records > $floor then records / greatest(coalesce(links, 0), 1) else 0 end as changed_share,
        case when emptied > $floor then emptied / greatest(coalesce(links, 0), 1) else 0 end as emptied_share
    from changed
    left join linked using (entity)
"""


def operation_suite(actions: list[str], phases: list[str], systems: list[str]) -> Suite:
    """Say what each operation of a plan must be."""
    checks = (
        whole("operation_present", "every operation has an id", present("operation_id")),
        whole("operation_unique", "one row an operation", unique("operation_id")),
        whole("action_known", f"actions of the closed set ({', '.join(actions)})", among("action", actions)),
        whole("phase_known", f"phases of the closed set ({', '.join(phases)})", among("phase", phases)),
        whole("system_known", f"systems of the closed set ({', '.join(systems)})", among("system", systems)),
        row("record_named", "an update has a record, a create has none", absent("record_fault")),
        row("changes_something", "after differs from before", absent("change_fault")),
        row("target_active", "only active records are written", absent("target_fault")),
        row("no_foreign_number", "no foreign ContactNumber is overwritten", absent("reference_fault")),
        row("no_twin", "nothing is made that the target has by that name", absent("twin_fault")),
        row("made_once", "nothing is made twice by one plan", absent("double_fault")),
        row("written_once", "one operation a record and unit", absent("unit_fault")),
        row("dependency_known", "what it depends on is in the plan", absent("dependency_fault")),
        row("email_sendable", "an e-mail address that a system accepts", matches("email", EMAIL)),
        row("no_control_sent", "no control characters are written", absent("control_fault")),
    )
    return Suite(
        "plan", "plan_operations", OPERATION_ROWS, "operation_id", checks, binds=frozenset({"control"})
    )


def field_suite() -> Suite:
    """Say what the fields that a plan sends must be."""
    checks = (
        row("fits_length", "values that fit the target's field", absent("length_fault")),
        whole(
            "nothing_deleted", "no field that archives, deletes or is read-only", none_of("field", FORBIDDEN)
        ),
    )
    return Suite("plan", "plan_fields", FIELD_ROWS, "operation_id", checks)


# The invoices to be made, reckoned anew from the bytes that would be sent: quantity x price less discount, in
# DuckDB's DECIMAL, each line rounded to the cent. Nothing here is taken over from the one who planned it.
INVOICE_ROWS: Final = r"""
    with
    made as (
        select operation_id, source_id, after, native_after
        from operations
        where entity = 'document' and action = 'create'
    ),
    items as (
        select operation_id, unnest(json_transform(native_after, '{"LineItems": [{
            "Quantity": "DECIMAL(19,4)", "UnitAmount": "DECIMAL(19,4)", "DiscountRate": "DECIMAL(9,4)"
        }]}').LineItems) as item
        from made
    ),
    priced as (
        select
            operation_id,
            item.Quantity as quantity,
            (item.Quantity * item.UnitAmount)::decimal(38, 8) as gross,
            (1 - coalesce(item.DiscountRate, 0) * 0.01::decimal(3, 2))::decimal(10, 6) as share
        from items
    ),
    sums as (
        select operation_id, min(quantity) as least, sum(round(gross * share, 2)) as amount
        from priced
        group by operation_id
    ),
    told as (
        select
            *,
            coalesce(native_after ->> $key_path, '') as key,
            native_after ->> '$.Contact.ContactID' as contact_id,
            native_after ->> '$.Contact.ContactID."$from"' as contact_made_by,
            (after ->> (case when $inclusive then '$.total' else '$.subtotal' end))::decimal(38, 2) as stated,
            coalesce(after ->> '$.total', after ->> '$.subtotal')::decimal(38, 2) as total
        from made
    ),
    there as (select lower(case when $key_path = '$.Reference' then reference else number end) as key from invoices),
    contacts as (
        select record_id from records
        where side = 'xero' and entity = 'party' and status = 'active' and in_scope
    ),
    coming as (
        select operation_id from operations
        where system = 'xero' and entity = 'party' and action = 'create'
    ),
    -- One in the place of an invoice that is voided, or that this plan voids before, is no second one.
    withdrawn as (select record_id from operations where entity = 'document' and unit = 'status'),
    closed as (select record_id from invoices where status in ('VOIDED', 'DELETED')),
    invoiced as (
        select salesforce_id from links
        where entity = 'document' and status = 'linked'
            and lower(xero_id) not in (from withdrawn) and lower(xero_id) not in (from closed)
    )
    select
        t.operation_id,
        native_after ->> '$.Type' as type,
        native_after ->> '$.Status' as status,
        case when s.amount is null then 'no lines' end as lines_fault,
        case when s.least < 0 then 'negative' end as quantity_fault,
        case when s.amount is distinct from t.stated then 'unlike' end as total_fault,
        case when t.total < 0 then 'negative' end as sign_fault,
        case when t.key = '' then 'no key'
            when count(*) over (partition by lower(t.key)) > 1 then 'twice in this plan'
            when lower(t.key) in (select key from there where key is not null) then 'there already'
        end as key_fault,
        case when coalesce(try_cast(native_after ->> '$.Date' as date) < $cut_over::date, true)
            then 'before the cut-over' end as date_fault,
        case when t.contact_made_by is not null then
                case when t.contact_made_by not in (from coming) then 'not made' end
            when coalesce(t.contact_id not in (from contacts), true) then 'unknown' end as contact_fault,
        case when t.source_id in (from invoiced) then 'has one' end as source_fault
    from told t
    left join sums s using (operation_id)
"""


def invoice_suite() -> Suite:
    """Say what an invoice must be that a plan makes."""
    checks = (
        row("invoice_of_ours", "a sales invoice", among("type", ["ACCREC"])),
        row(
            "invoice_status",
            "one that an invoice can be made with",
            among("status", ["DRAFT", "SUBMITTED", "AUTHORISED"]),
        ),
        row("invoice_has_lines", "one line or more", absent("lines_fault")),
        row("invoice_quantity", "no quantity below zero", absent("quantity_fault")),
        row("totals_agree", "lines that add up to the total that was planned", absent("total_fault")),
        row("total_not_negative", "a total of zero or more", absent("sign_fault")),
        row("key_unique", "a number or reference that nothing else carries", absent("key_fault")),
        row("after_the_cut_over", "a date on or after the cut-over", absent("date_fault")),
        row("contact_known", "an active contact, or one that this plan makes", absent("contact_fault")),
        row("not_invoiced_yet", "an opportunity without an invoice", absent("source_fault")),
    )
    binds = frozenset({"cut_over", "key_path", "inclusive"})
    return Suite("plan", "plan_invoices", INVOICE_ROWS, "operation_id", checks, binds=binds)


# The payments to be recorded, reckoned anew from the bytes that would be sent, against what Xero says is due.
PAYMENT_ROWS: Final = r"""
    with
    made as (
        select
            operation_id,
            source_id,
            lower(coalesce(native_after ->> '$.Reference', '')) as key,
            lower(native_after ->> '$.Invoice.InvoiceID') as invoice_id,
            native_after ->> '$.Account.AccountID' as account_id,
            try_cast(native_after ->> '$.Amount' as decimal(38, 4)) as amount,
            try_cast(native_after ->> '$.Date' as date) as day
        from operations
        where entity = 'payment' and action = 'create'
    ),
    sums as (select invoice_id, sum(amount) as amount from made group by invoice_id),
    there as (select lower(reference) as key from settlements where reference is not null)
    select
        m.operation_id,
        case when m.amount is null or m.amount <= 0 then 'not above zero' end as amount_fault,
        case when m.account_id is null or m.day is null then 'missing' end as place_fault,
        case when o.invoice_id is null then 'unknown' when o.status <> 'AUTHORISED' then o.status end as invoice_fault,
        case when coalesce(s.amount > o.due, true) then 'more than is due' end as due_fault,
        case when m.key = '' then 'no key'
            when count(*) over (partition by m.key) > 1 then 'twice in this plan'
            when m.key in (select key from there) then 'there already'
        end as key_fault
    from made m
    left join owed o using (invoice_id)
    left join sums s using (invoice_id)
"""


def payment_suite() -> Suite:
    """Say what a payment must be that a plan records."""
    checks = (
        row("payment_amount", "an amount above zero", absent("amount_fault")),
        row("payment_placed", "an account and a day", absent("place_fault")),
        row("payment_of_open_invoice", "an invoice that is approved and not paid", absent("invoice_fault")),
        row("payment_within_due", "all payments of an invoice within what is due", absent("due_fault")),
        row("payment_key_unique", "a Reference that nothing else carries", absent("key_fault")),
    )
    return Suite("plan", "plan_payments", PAYMENT_ROWS, "operation_id", checks)


# The bills to be made, reckoned anew from the bytes that would be sent, against those that Xero has.
BILL_ROWS: Final = r"""
    with
    made as (
        select
            operation_id,
            native_after,
            lower(right(coalesce(native_after ->> '$.InvoiceNumber', ''), 18)) as key,
            lower(source_id) as source_key,
            lower(native_after ->> '$.Contact.ContactID') as contact_id,
            native_after ->> '$.Contact.ContactID."$from"' as contact_made_by,
            coalesce(after ->> '$.subtotal', after ->> '$.total') as stated,
            try_cast(native_after ->> '$.Date' as date) as day
        from operations
        where entity = 'bill' and action = 'create'
    ),
    items as (
        select operation_id, unnest(json_transform(native_after, '{"LineItems": [{
            "Quantity": "DECIMAL(19,4)", "UnitAmount": "DECIMAL(19,4)"
        }]}').LineItems) as item
        from made
    ),
    sums as (
        select operation_id, sum(item.Quantity * item.UnitAmount)::decimal(38, 4) as amount
        from items
        group by operation_id
    ),
    there as (select lower(right(bill_number, 18)) as key from bills where bill_number is not null),
    contacts as (
        select record_id from records
        where side = 'xero' and entity = 'party' and status = 'active' and in_scope
    ),
    coming as (
        select operation_id from operations
        where system = 'xero' and entity = 'party' and action = 'create'
    )
    select
        m.operation_id,
        native_after ->> '$.Type' as type,
        native_after ->> '$.Status' as status,
        case when coalesce(s.amount <= 0, true) then 'not above zero'
            when s.amount is distinct from try_cast(m.stated as decimal(38, 4)) then 'unlike' end as amount_fault,
        case when m.day is null then 'missing' end as day_fault,
        case when m.contact_made_by is not null then
                case when m.contact_made_by not in (from coming) then 'not made' end
            when coalesce(m.contact_id not in (from contacts), true) then 'unknown' end as contact_fault,
        case when m.key is distinct from m.source_key then 'another key'
            when count(*) over (partition by m.key) > 1 then 'twice in this plan'
            when m.key in (select key from there) then 'there already'
        end as key_fault
    from made m
    left join sums s using (operation_id)
"""


def bill_suite() -> Suite:
    """Say what a bill must be that a plan makes."""
    checks = (
        row("bill_of_supplier", "a bill", among("type", ["ACCPAY"])),
        row(
            "bill_not_approved",
            "a draft, or one that waits for approval",
            among("status", ["DRAFT", "SUBMITTED"]),
        ),
        row("bill_amount", "lines of the amount that was planned, above zero", absent("amount_fault")),
        row("bill_dated", "a day", absent("day_fault")),
        row("bill_contact_known", "an active contact, or one that this plan makes", absent("contact_fault")),
        row(
            "bill_key_unique", "a number that ends in its record's id, as no other does", absent("key_fault")
        ),
    )
    return Suite("plan", "plan_bills", BILL_ROWS, "operation_id", checks)


def system_suite() -> Suite:
    """Say how much a plan may do to one system before its hash needs an approval: these only warn."""
    checks = (
        whole(
            "few_operations",
            "operations within the limit, or an approval",
            at_most("operations", "max_operations"),
            "warning",
        ),
        whole(
            "small_share",
            "a share of changed records within the limit, or an approval",
            at_most("share", "max_share"),
            "warning",
        ),
    )
    floor = frozenset({"floor"})
    return Suite("plan", "plan_systems", SYSTEM_ROWS, "system", checks, names_records=False, binds=floor)


def unit_suite() -> Suite:
    """Say how much of one unit a plan may change: a bug or an import gone wrong changes it everywhere."""
    checks = (
        whole(
            "no_mass_change",
            "no unit changed in a large part of all links",
            at_most("changed_share", "mass_share"),
        ),
        whole("few_cleared", "no unit emptied in many links", at_most("emptied_share", "clearing_share")),
    )
    binds = frozenset({"floor", "projections"})
    return Suite("plan", "plan_units", UNIT_ROWS, "unit", checks, names_records=False, binds=binds)
