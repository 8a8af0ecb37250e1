"""Creates, changes, deletes, merges one record by Salesforce's rules; refuses it with the vendor's error.

Every function here runs within a transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.salesforce import rules
from sandbox.salesforce.errors import Refused, WholeRequest
from sandbox.salesforce.ids import full_id
from sandbox.salesforce.org import PERSON_ID, STORED, Org, Session, full_name, kind_of, stamp_of, stamp_text
from sandbox.salesforce.reading import no_such_column
from sandbox.salesforce.schema import Field, SObject
from sandbox.salesforce.values import accept
from sandbox.store import Body

CHILDREN = {"Account": (("Contact", "AccountId"), ("Account", "ParentId")), "Contact": ()}


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
    body = _with({"Id": record_id, "IsDeleted": False, "OwnerId": writing.session.user_id}, values)
    body |= {f.name: False for f in sobject.fields.values() if f.type == "boolean" and f.name not in body}
    _check(writing, sobject, body, set(values))
    _store(writing, sobject.name, body, set(values))
    return Saved(record_id, created=True)


def update(writing: Writing, kind: str, record_id: str, given: Mapping[str, Any]) -> Saved:
    sobject = writable(writing, kind, "updateable")
    before = living(writing.org, sobject.name, record_id)
    rules.check_lock(writing.org, before["Id"])
    values = _accepted(writing, sobject, given, creating=False)
    body = _with(before, values)
    _check(writing, sobject, body, set(values))
    _store(writing, sobject.name, body, set(values))
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
    """Into the recycle bin, and an account's contacts with it (second hand)."""
    sobject = writable(writing, kind, "deletable")
    body = living(writing.org, sobject.name, record_id)
    rules.check_lock(writing.org, body["Id"])
    _store(writing, sobject.name, {**body, "IsDeleted": True}, set())
    if kind == "Account":
        for child in writing.org.find("Contact", "AccountId", body["Id"]):
            if not child.get("IsDeleted"):
                _store(writing, "Contact", {**child, "IsDeleted": True}, set())
    return Saved(body["Id"], created=False)


# -- what the web page and the system can do, and our clients can't: reached under /sandbox/


def undelete(writing: Writing, record_id: str) -> Saved:
    """Out of the recycle bin; unique values must still be free. An account's contacts come back with it."""
    kind, body = any_record(writing.org, record_id)
    sobject = writing.org.schema.object(kind)
    assert sobject is not None
    restored = {name: value for name, value in body.items() if name != "MasterRecordId"}
    _check_unique(writing.org, sobject, {**restored, "IsDeleted": False})
    _store(writing, kind, {**restored, "IsDeleted": False}, set())
    if kind == "Account":
        for child in writing.org.find("Contact", "AccountId", body["Id"]):
            if child.get("IsDeleted") and not child.get("MasterRecordId"):
                _store(writing, "Contact", {**child, "IsDeleted": False}, set())
    return Saved(body["Id"], created=False)


def purge(writing: Writing, record_id: str) -> None:
    """Empty the recycle bin of a record: from now on only getDeleted knows of it."""
    kind, body = any_record(writing.org, record_id)
    writing.org.store.keep(f"purged:{kind}", body["Id"], stamp_text(writing.org.stamp_ms()))
    writing.org.store.delete(kind, body["Id"])


def merge(writing: Writing, kind: str, survivor: str, loser: str, fields: Mapping[str, Any]) -> None:
    """Two records become one: the loser is deleted and leads to the survivor, its children move over."""
    org = writing.org
    kept, lost = living(org, kind, survivor), living(org, kind, loser)
    if kept["Id"] == lost["Id"]:
        raise Refused("INVALID_OPERATION", "a record can't be merged with itself")
    _store(writing, kind, {**lost, "IsDeleted": True, "MasterRecordId": kept["Id"]}, set())
    for child_kind, reference in CHILDREN[kind]:
        for child in org.find(child_kind, reference, lost["Id"]):
            moved = {**child, reference: kept["Id"]}
            if org.dialect["merge_stamps_children"]:
                _store(writing, child_kind, moved, set())
            else:
                org.put(child_kind, moved)
    update(writing, kind, kept["Id"], fields)


def touch(writing: Writing, record_id: str) -> None:
    """What the system does now and then (a picklist value is renamed ...): only SystemModstamp moves."""
    kind, body = any_record(writing.org, record_id)
    stamp = max(writing.org.stamp_ms(), stamp_of(body["SystemModstamp"]))
    writing.org.put(kind, {**body, "SystemModstamp": stamp_text(stamp)})


def any_record(org: Org, record_id: str) -> tuple[str, Body]:
    """Object and record of an id, deleted or not."""
    found = full_id(record_id)
    kind = kind_of(found) if found else None
    body = org.get(kind, found) if kind in STORED and found else None
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


def _check(writing: Writing, sobject: SObject, body: Body, written: set[str]) -> None:
    missing = [f.name for f in sobject.fields.values() if f.required and f.name not in body]
    if missing:
        message = f"Required fields are missing: [{', '.join(missing)}]"
        raise Refused("REQUIRED_FIELD_MISSING", message, fields=missing)
    for name in written:
        f = sobject.field(name)
        if f is not None and f.reference and name in body:
            _check_reference(writing.org, f, body[name])
    _check_unique(writing.org, sobject, body, written)
    rules.check_validation(writing.org, sobject.name, body)
    rules.check_duplicates(
        writing.org, sobject.name, body, allow_save=writing.allow_duplicates, version=writing.version
    )


def _check_reference(org: Org, f: Field, record_id: str) -> None:
    kind = kind_of(record_id)
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


# -- how it is kept


def _store(writing: Writing, kind: str, body: Body, written: set[str]) -> None:
    org = writing.org
    stamp = org.stamp_ms()
    if "SystemModstamp" in body:  # time does not run backwards within a record
        stamp = max(stamp, stamp_of(body["SystemModstamp"]))
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


def _triggered(trigger: str, kind: str, body: Body, written: set[str]) -> Body:
    """What automation makes of a record after somebody wrote it."""
    if trigger == "off" or not written:
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
