"""What an administrator has switched on: validation rules, duplicate rules; and rows that are locked."""

from __future__ import annotations

from typing import Any

from sandbox.salesforce import soql
from sandbox.salesforce.errors import Refused
from sandbox.salesforce.matching import condition
from sandbox.salesforce.org import PERSON_ID, Org, Session
from sandbox.salesforce.reading import Reading
from sandbox.store import Body


def set_rules(org: Org, wanted: dict[str, Any]) -> None:
    """Add rules to those in force.

    {"validation": [{object, name, when, message, field}],
     "duplicate": [{object, name, fields, allow_save, message}]}
    `when` is a condition in SOQL that is true of a record to be refused.
    """
    for rule in wanted.get("validation", []):
        soql.parse_condition(rule["when"])
    for group, rules in wanted.items():
        org.store.keep("rules", group, [*(org.store.kept("rules", group) or []), *rules])


def clear_rules(org: Org) -> None:
    for group in org.store.all_kept("rules"):
        org.store.forget("rules", group)


def lock(org: Org, record_id: str, times: int) -> None:
    """The next `times` writes of this record are refused with UNABLE_TO_LOCK_ROW."""
    org.store.keep("locks", record_id, times)


def check_lock(org: Org, record_id: str) -> None:
    left = org.store.kept("locks", record_id) or 0
    if left > 0:
        raise Locked(record_id, left)


class Locked(Refused):
    """Somebody else holds the row. Counted down outside of the write's transaction, which is rolled back."""

    def __init__(self, record_id: str, left: int) -> None:
        message = f"unable to obtain exclusive access to this record or 1 records: {record_id}"
        super().__init__("UNABLE_TO_LOCK_ROW", message, fields=[])
        self.record_id, self.left = record_id, left

    def count_down(self, org: Org) -> None:
        org.store.keep("locks", self.record_id, self.left - 1)


def check_validation(org: Org, kind: str, body: Body) -> None:
    sobject = org.schema.object(kind)
    assert sobject is not None
    for rule in org.store.kept("rules", "validation") or []:
        if rule["object"] != kind:
            continue
        query = soql.Query((), soql.Path((kind,), 1, 1), None, (), (), None, 0, rule["when"])
        reading = Reading(org, Session(PERSON_ID), "68.0")
        if condition(reading, query, sobject, soql.parse_condition(rule["when"]))(body):
            fields = [rule["field"]] if rule.get("field") else []
            raise Refused("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule["message"], fields=fields)


def check_duplicates(org: Org, kind: str, body: Body, *, allow_save: bool, version: str) -> None:
    """Refuse what a duplicate rule finds twice; rules that only warn let it pass when the header says so."""
    for rule in org.store.kept("rules", "duplicate") or []:
        if rule["object"] != kind or (allow_save and rule.get("allow_save")):
            continue
        found = _matches(org, kind, body, rule["fields"])
        if found:
            raise _duplicates(kind, rule, found, version)


def _matches(org: Org, kind: str, body: Body, fields: list[str]) -> list[str]:
    wanted = {field: str(body[field]) for field in fields if body.get(field)}
    if len(wanted) < len(fields):
        return []
    keyed = next((field for field in fields if org.is_indexed(kind, field)), None)
    rows = org.find(kind, keyed, wanted[keyed]) if keyed else org.rows(kind)
    return [
        row["Id"]
        for row in rows
        if row["Id"] != body["Id"]
        and not row.get("IsDeleted")
        and all(str(row.get(field, "")).casefold() == value.casefold() for field, value in wanted.items())
    ]


def _duplicates(kind: str, rule: dict[str, Any], found: list[str], version: str) -> Refused:
    """The body has the key `duplicateResut`: the typo is Salesforce's own (recorded)."""
    message = rule.get("message", "Use one of these records?")
    records = [
        {
            "additionalInformation": [],
            "fieldDiffs": [],
            "matchConfidence": 100.0,
            "record": {
                "attributes": {"type": kind, "url": f"/services/data/v{version}/sobjects/{kind}/{record_id}"},
                "Id": record_id,
            },
        }
        for record_id in found
    ]
    result = {
        "allowSave": bool(rule.get("allow_save")),
        "duplicateRule": rule["name"],
        "duplicateRuleEntityType": kind,
        "errorMessage": message,
        "matchResults": [
            {
                "entityType": kind,
                "errors": list[Any](),
                "matchEngine": "ExactMatchEngine",
                "matchRecords": records,
                "rule": rule.get("rule", f"{kind}_MR"),
                "size": len(records),
                "success": True,
            }
        ],
    }
    return Refused("DUPLICATES_DETECTED", message, extra={"duplicateResut": result})
