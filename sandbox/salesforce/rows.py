"""Creates, changes, deletes, merges one record by Salesforce's rules; refuses it with the vendor's error.

Every function here runs within a transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.salesforce import currencies, custom, orders, places, rules, sales
from sandbox.salesforce.errors import Refused, WholeRequest
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import (
    PERSON_ID,
    Org,
    Session,
    full_name,
    shipped_fields,
    stamp_of,
    stamp_text,
)
from sandbox.salesforce.reading import no_such_column
from sandbox.salesforce.schema import Field, SObject
from sandbox.salesforce.values import accept
from sandbox.store import Body

TRIGGERED = ("Account", "Contact", "Opportunity")  # where this org has automation
CASCADED = (
    "deleted with"  # the parent with which a record went into the recycle bin; no field, so never shown
)


@dataclass(frozen=True)
class Writing:
    """Who writes, and what the headers of the request allow."""

    org: Org
    session: Session
    version: str = "68.0"
    allow_duplicates: bool = False

    @property
    def in_page(self) -> bool:
        return self.session.user_id == PERSON_ID


@dataclass(frozen=True)
class Saved:
    record_id: str
    created: bool


def writable(writing: Writing, kind: str, right: str) -> SObject:
    """The object, if there is one of that name and this user may do `right` with it."""
    sobject = writing.org.schema.object(kind, restricted=writing.session.restricted)
    if sobject is None:
        raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
    if not getattr(sobject, right):
        verb = {"createable": "insert", "updateable": "update", "deletable": "delete"}[right]
        message = f"entity type {sobject.name} does not support {verb}"
        raise Refused("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, fields=[])
    return sobject


def create(writing: Writing, kind: str, given: Mapping[str, Any]) -> Saved:
    sobject = writable(writing, kind, "createable")
    if any(name.lower() == "id" for name in given):
        message = "cannot specify Id in an insert call"
        raise Refused("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=["Id"])
    values = _accepted(writing, sobject, given, creating=True)
    record_id = writing.org.new_id(sobject.name)
    system = {"Id": record_id, "IsDeleted": False}
    if "OwnerId" in shipped_fields(sobject.name):
        system["OwnerId"] = writing.session.user_id
    body = _with(system, values)
    body |= {f.name: False for f in sobject.fields.values() if f.type == "boolean" and f.name not in body}
    body = _checked(writing, sobject, body, None, set(values))
    _store(writing, sobject.name, body, set(values))
    _follow(writing, sobject.name, body, None)
    return Saved(record_id, created=True)


def update(writing: Writing, kind: str, record_id: str, given: Mapping[str, Any]) -> Saved:
    sobject = writable(writing, kind, "updateable")
    before = living(writing.org, sobject.name, record_id)
    rules.check_lock(writing.org, before["Id"])
    values = _accepted(writing, sobject, given, creating=False)
    body = _checked(writing, sobject, _with(before, values), before, set(values))
    _store(writing, sobject.name, body, set(values))
    _follow(writing, sobject.name, body, before)
    return Saved(body["Id"], created=False)


def upsert(
    writing: Writing,
    kind: str,
    key: Field,
    value: str,
    given: Mapping[str, Any],
    *,
    update_only: bool = False,
) -> Saved:
    """Update the record with this external id, or create it. Raises ManyMatches where several carry it."""
    found = by_external_id(writing.org, kind, key, value)
    if len(found) > 1:
        raise ManyMatches([row["Id"] for row in found])
    if found:
        return update(writing, kind, found[0]["Id"], given)
    if update_only:
        raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
    return create(writing, kind, {**given, key.name: value})


class ManyMatches(Refused):
    """300: more than one record carries the external id; nothing was written."""

    def __init__(self, record_ids: list[str]) -> None:
        message = f"Multiple records match: {len(record_ids)}"
        super().__init__("DUPLICATE_EXTERNAL_ID", message, status=300, fields=[])
        self.record_ids = record_ids


def external_key(org: Org, sobject: SObject, name: str) -> Field:
    """The external id field of that name. Raises Refused where there is none."""
    f = sobject.field(name)
    if f is None or not f.external_id:
        message = f"Provided external ID field does not exist or is not accessible: {name}"
        raise Refused("NOT_FOUND", message, status=404)
    return f


def by_external_id(org: Org, kind: str, key: Field, value: str) -> list[Body]:
    """Live records with this external id."""
    wanted = value.strip()
    exact = org.dialect["case_sensitive_external_id"]
    return [
        row
        for row in org.find(kind, key.name, wanted)
        if not row.get("IsDeleted") and (not exact or row.get(key.name) == wanted)
    ]


def living(org: Org, kind: str, record_id: str) -> Body:
    """The record of an id in either form, if it lives."""
    found = full_id(record_id)
    body = org.get(kind, found) if found else None
    if body is None:
        raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404, fields=[])
    if body.get("IsDeleted"):
        raise Refused("ENTITY_IS_DELETED", "entity is deleted", status=404, fields=[])
    return body


def delete(writing: Writing, kind: str, record_id: str) -> Saved:
    """Into the recycle bin, and with it what belongs to it: contacts, opportunities, lines, prices."""
    sobject = writable(writing, kind, "deletable")
    body = living(writing.org, sobject.name, record_id)
    rules.check_lock(writing.org, body["Id"])
    sales.check_delete(writing.org, sobject.name, body)
    orders.check_delete(writing.org, sobject.name, body)
    currencies.check_delete(writing.org, sobject.name, body)
    _store(writing, sobject.name, {**body, "IsDeleted": True}, set())
    _delete_children(writing, sobject.name, body["Id"], body["Id"])
    _follow(writing, sobject.name, {**body, "IsDeleted": True}, body)
    return Saved(body["Id"], created=False)


def _delete_children(writing: Writing, kind: str, record_id: str, first: str) -> None:
    for relation in writing.org.schema.relations(kind):
        cleared = relation.field.endswith("__c")  # a custom lookup to what is deleted is emptied (doc)
        reached = relation.cascades or cleared
        for child in writing.org.find(relation.child, relation.field, record_id) if reached else ():
            if cleared:
                _put_touched(writing, relation.child, _with(child, {relation.field: None}))
            elif not child.get("IsDeleted"):
                _store(writing, relation.child, {**child, "IsDeleted": True, CASCADED: first}, set())
                _delete_children(writing, relation.child, child["Id"], first)


# -- what the web page and the system can do, and our clients can't: reached under /sandbox/


def undelete(writing: Writing, record_id: str) -> Saved:
    """Out of the recycle bin; unique values must still be free. What went with it comes back with it."""
    kind, body = any_record(writing.org, record_id)
    _restore(writing, kind, body)
    _restore_children(writing, kind, body["Id"], body["Id"])
    _follow(writing, kind, {**body, "IsDeleted": False}, body)
    return Saved(body["Id"], created=False)


def _restore(writing: Writing, kind: str, body: Body) -> None:
    sobject = writing.org.schema.object(kind)
    assert sobject is not None
    kept = {name: value for name, value in body.items() if name not in ("MasterRecordId", CASCADED)}
    _check_unique(writing.org, sobject, {**kept, "IsDeleted": False})
    _store(writing, kind, {**kept, "IsDeleted": False}, set())


def _restore_children(writing: Writing, kind: str, record_id: str, first: str) -> None:
    for relation in writing.org.schema.relations(kind):
        for child in writing.org.find(relation.child, relation.field, record_id):
            if child.get("IsDeleted") and child.get(CASCADED) == first:
                _restore(writing, relation.child, child)
                _restore_children(writing, relation.child, child["Id"], first)


def purge(writing: Writing, record_id: str) -> None:
    """Empty the recycle bin of a record: from now on only getDeleted knows of it."""
    kind, body = any_record(writing.org, record_id)
    for relation in writing.org.schema.relations(kind):
        for child in (
            writing.org.find(relation.child, relation.field, body["Id"]) if relation.cascades else ()
        ):
            purge(writing, child["Id"])
    writing.org.store.keep(f"purged:{kind}", body["Id"], stamp_text(writing.org.stamp_ms()))
    writing.org.store.delete(kind, body["Id"])


def merge(writing: Writing, kind: str, survivor: str, loser: str, fields: Mapping[str, Any]) -> None:
    """Two records become one: the loser is deleted and leads to the survivor, its children move over."""
    org = writing.org
    kept, lost = living(org, kind, survivor), living(org, kind, loser)
    if kept["Id"] == lost["Id"]:
        raise Refused("INVALID_OPERATION", "a record can't be merged with itself")
    _store(writing, kind, {**lost, "IsDeleted": True, "MasterRecordId": kept["Id"]}, set())
    for relation in writing.org.schema.relations(kind):
        for child in org.find(relation.child, relation.field, lost["Id"]):
            moved = {**child, relation.field: kept["Id"]}
            if org.dialect["merge_stamps_children"]:
                _store(writing, relation.child, moved, set())
            else:
                org.put(relation.child, moved)
    update(writing, kind, kept["Id"], fields)


def touch(writing: Writing, record_id: str) -> None:
    """What the system does now and then (a picklist value is renamed ...): only SystemModstamp moves."""
    kind, body = any_record(writing.org, record_id)
    _put_touched(writing, kind, body)


def _put_touched(writing: Writing, kind: str, body: Body) -> None:
    stamp = max(writing.org.stamp_ms(), stamp_of(body["SystemModstamp"]))
    writing.org.put(kind, {**body, "SystemModstamp": stamp_text(stamp)})


def any_record(org: Org, record_id: str) -> tuple[str, Body]:
    """Object and record of an id, deleted or not."""
    found = full_id(record_id)
    kind = org.schema.kind_of(found) if found else None
    body = org.get(kind, found) if kind and found and org.schema.is_stored(kind) else None
    if kind is None or body is None:
        raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404)
    return kind, body


# -- what is sent


def _accepted(
    writing: Writing, sobject: SObject, given: Mapping[str, Any], *, creating: bool
) -> dict[str, Any]:
    """Field -> value as stored, of all that was sent."""
    values: dict[str, Any] = {}
    refused: list[str] = []
    for name, value in given.items():
        if name == "attributes":
            continue
        if isinstance(value, dict) and (reference := sobject.through(name)):
            values[reference.name] = _by_relationship(writing, reference, value)
            continue
        f = sobject.field(name)
        if f is None:
            raise _unknown_field(writing, sobject, name)
        if not (f.createable if creating else f.updateable):
            refused.append(f.name)
        else:
            values[f.name] = accept(f, value, writing.org.dialect, in_page=writing.in_page)
    if refused:
        message = (
            f"Unable to create/update fields: {', '.join(refused)}. Please check the security settings of "
            "this field and verify that it is read/write for your profile or permission set."
        )
        raise Refused("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=refused)
    return values


def _unknown_field(writing: Writing, sobject: SObject, name: str) -> Refused:
    message = no_such_column(name, sobject, "sobject of type").replace("'" + sobject.name + "'", sobject.name)
    kind = WholeRequest if writing.org.dialect["collection_unknown_field"] == "whole" else Refused
    return kind("INVALID_FIELD", message)


def _by_relationship(writing: Writing, reference: Field, given: Mapping[str, Any]) -> str:
    """{"Account": {"ExternalID__c": "x"}} names the parent by its external id."""
    kind = reference.reference or ""
    sobject = writing.org.schema.object(kind)
    pairs = [(name, value) for name, value in given.items() if name != "attributes"]
    if sobject is None or len(pairs) != 1:
        raise Refused("INVALID_FIELD", f"Foreign key external ID needs one field in entity {kind}")
    key = external_key(writing.org, sobject, pairs[0][0])
    found = by_external_id(writing.org, kind, key, str(pairs[0][1]))
    if len(found) != 1:
        value = str(pairs[0][1])
        message = f"Foreign key external ID: {value} not found for field {key.name} in entity {kind}"
        raise Refused("INVALID_FIELD", message)
    return found[0]["Id"]


def _with(body: Body, values: Mapping[str, Any]) -> Body:
    """The record with values laid over it; null is kept as absent."""
    return {name: value for name, value in {**body, **values}.items() if value is not None}


# -- what must hold


def _checked(writing: Writing, sobject: SObject, body: Body, before: Body | None, written: set[str]) -> Body:
    """The record completed by the system, or Refused."""
    missing = [f.name for f in sobject.fields.values() if f.required and f.name not in body]
    if missing:
        message = f"Required fields are missing: [{', '.join(missing)}]"
        raise Refused("REQUIRED_FIELD_MISSING", message, fields=missing)
    for name in written:
        f = sobject.field(name)
        if f is not None and f.reference and name in body:
            _check_reference(writing.org, f, body[name])
    body = places.completed(writing.org, sobject, body, written)
    body = custom.named(sobject.name, body)
    body = currencies.completed(writing.org, sobject, body, before, written)
    body = sales.completed(writing.org, sobject.name, body, before, written)
    body = orders.completed(writing.org, sobject.name, body, before, written, writing.session.user_id)
    _check_unique(writing.org, sobject, body, written)
    rules.check_validation(writing.org, sobject.name, body)
    rules.check_duplicates(
        writing.org, sobject.name, body, allow_save=writing.allow_duplicates, version=writing.version
    )
    return body


def _check_reference(org: Org, f: Field, record_id: str) -> None:
    kind = org.schema.kind_of(record_id)
    if kind != f.reference and kind is not None:
        message = f"{f.relationship} ID: id value of incorrect type: {record_id}"
        raise Refused("FIELD_INTEGRITY_EXCEPTION", message, fields=[f.name])
    found = org.get(kind, record_id) if kind else None
    if found is None:
        raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[f.name])
    if found.get("IsDeleted"):
        raise Refused("ENTITY_IS_DELETED", "entity is deleted", fields=[f.name])


def _check_unique(org: Org, sobject: SObject, body: Body, written: set[str] | None = None) -> None:
    for f in sobject.fields.values():
        if not f.unique or f.name not in body or (written is not None and f.name not in written):
            continue
        others = [
            row for row in by_external_id(org, sobject.name, f, body[f.name]) if row["Id"] != body["Id"]
        ]
        if others:
            message = (
                f"duplicate value found: {f.name} duplicates value on record with id: {others[0]['Id'][:15]}"
            )
            raise Refused("DUPLICATE_VALUE", message, fields=[])


# -- what else a write does


def _follow(writing: Writing, kind: str, body: Body, before: Body | None) -> None:
    """Roll a line up into its opportunity; take the lines away from one that changed its price book."""
    org = writing.org
    for which in (sales, orders):
        for other, changed, stamps in which.following(org, kind, body, before):
            _put_rolled(writing, other, changed, stamps)
    for rate in currencies.following(org, kind, body):
        org.put("DatedConversionRate", rate)
    if kind == "OpportunityLineItem":
        _roll_up(writing, body)
    elif kind == "Opportunity" and before is not None and not body.get("IsDeleted"):
        lost_lines = before.get("HasOpportunityLineItem") and not body.get("HasOpportunityLineItem")
        for line in sales.living_lines(org, body["Id"]) if lost_lines else ():
            _store(writing, "OpportunityLineItem", {**line, "IsDeleted": True}, set())


def _roll_up(writing: Writing, line: Body) -> None:
    org = writing.org
    opportunity = org.get("Opportunity", line["OpportunityId"])
    if opportunity is None or opportunity.get("IsDeleted"):
        return
    rules.check_lock(org, opportunity["Id"])  # a line's parent is locked with it (facts: UNABLE_TO_LOCK_ROW)
    if "Pricebook2Id" not in opportunity:
        entry = org.get("PricebookEntry", line["PricebookEntryId"]) or {}
        opportunity = _with(opportunity, {"Pricebook2Id": entry.get("Pricebook2Id")})
    _put_rolled(writing, "Opportunity", sales.rolled_up(org, opportunity), org.dialect["roll_up_stamps"])


def _put_rolled(writing: Writing, kind: str, body: Body, stamps: str) -> None:
    """What follows from another write. stamps: modified, system (SystemModstamp alone) or none."""
    if stamps == "modified":
        _store(writing, kind, body, set())
    elif stamps == "system":
        _put_touched(writing, kind, body)
    else:
        writing.org.put(kind, body)


# -- how it is kept


def _store(writing: Writing, kind: str, body: Body, written: set[str]) -> None:
    org = writing.org
    stamp = org.stamp_ms()
    if "SystemModstamp" in body:  # time does not run backwards within a record
        stamp = max(stamp, stamp_of(body["SystemModstamp"]), org.unlocked_ms(body["Id"]))
    text = stamp_text(stamp)
    body = {
        **body,
        "LastModifiedDate": text,
        "LastModifiedById": writing.session.user_id,
        "SystemModstamp": text,
    }
    body.setdefault("CreatedDate", text)
    body.setdefault("CreatedById", writing.session.user_id)
    body = _triggered(org.dialect["trigger"], kind, body, written)
    if kind == "Contact":
        body["Name"] = full_name(body)
    org.put(kind, body)
    org.commit(body["Id"])


def _triggered(trigger: str, kind: str, body: Body, written: set[str]) -> Body:
    """What automation makes of a record after somebody wrote it."""
    if trigger == "off" or not written or kind not in TRIGGERED:
        return body
    if trigger == "other_field":
        return {**body, "Description": "Looked at by a rule"}
    if kind == "Contact":
        last = body.get("LastName", "")
        return {**body, "LastName": last[:1].upper() + last[1:]}
    changed: Body = {}
    if "Phone" in body and "Phone" in written and "Fax" not in body:
        changed["Fax"] = body["Phone"]
    if "BillingPostalCode" in body:
        changed["BillingPostalCode"] = body["BillingPostalCode"].upper()
    return {**body, **changed}
