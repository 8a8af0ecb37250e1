"""Xero and Salesforce in memory, as far as the protocol meets them: keys, unique numbers, late application.

Written from `docs/protocol.md` and the facts, not from the product. Each keeps a log of what was applied,
which the oracle reads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pipelines.wire import Page, Row
from tests.model.clock import BEGINNING, Clock

KEY_LIVES_S = 360.0
NO_ID = "00000000-0000-0000-0000-000000000000"
XERO_LISTS = {
    "Contact": ("Contacts", "ContactID", "ContactNumber"),
    "Invoice": ("Invoices", "InvoiceID", "InvoiceNumber"),
}
US = "005000000000001AAA"
SOMEBODY = "005000000000009AAA"


@dataclass(frozen=True)
class Change:
    """One record made or written. by: the request that did it, or "person"."""

    at: float
    side: str
    object: str
    action: str  # create or update
    record_id: str
    fields: Mapping[str, Any]
    by: str
    before: Mapping[str, Any] = field(default_factory=dict)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Xero:
    """One organisation."""

    side = "xero"

    def __init__(self, clock: Clock, count: Any) -> None:
        self.clock, self._count = clock, count
        self.records: dict[str, dict[str, dict[str, Any]]] = {"Contact": {}, "Invoice": {}}
        self.keys: dict[str, tuple[float, str, int, bytes]] = {}
        self.changes: list[Change] = []
        self._ids = 0

    # -- writing

    def arrive(
        self, method: str, path: str, body: bytes, key: str | None, fault: str = ""
    ) -> tuple[int, bytes]:
        """Take a request in; gives (status, body). fault: 500_clean, 500_applied, partial, 400_whole."""
        digest = hashlib.sha256(method.encode() + path.encode() + body).hexdigest()
        known = self.keys.get(key or "")
        if known is not None and self.clock.at - known[0] < KEY_LIVES_S:
            if known[1] != digest:
                return 400, b'{"Message":"Idempotency Key is used with a different request."}'
            self._count("key_replayed")
            return known[2], known[3]
        status, reply = self._carry_out(method, path, body, fault, digest)
        if key:
            self.keys[key] = (self.clock.at, digest, status, reply)
        return status, reply

    def _carry_out(self, method: str, path: str, body: bytes, fault: str, digest: str) -> tuple[int, bytes]:
        if fault == "500_clean":
            return 500, b'{"Message":"An error occurred"}'
        if fault == "400_whole":
            return 400, b'{"Message":"A validation exception occurred"}'
        name = "Invoice" if "/Invoices" in path else "Contact"
        listed, id_field, _ = XERO_LISTS[name]
        asked = json.loads(body)[listed]
        told = []
        for place, element in enumerate(asked):
            refuse = fault == "partial" and place == len(asked) - 1
            told.append(self._element(method, name, id_field, element, digest, refuse=refuse))
        if fault == "500_applied":
            return 500, b'{"Message":"An error occurred"}'
        return 200, _dumps({"Status": "OK", listed: told})

    def _element(
        self, method: str, name: str, id_field: str, element: dict[str, Any], by: str, *, refuse: bool
    ) -> dict[str, Any]:
        if refuse:
            return self._error(element, id_field, "The field is not valid for this organisation")
        if method == "PUT":
            unique = XERO_LISTS[name][2]
            taken = element.get(unique) and any(
                one.get(unique) == element[unique] for one in self.records[name].values()
            )
            if taken:
                self._count("refused_by_unique_key")
                return self._error(element, id_field, f"{unique} must be unique, and is used already")
            return self._make(name, id_field, element, by)
        record = self.records[name].get(element[id_field])
        if record is None:
            return self._error(element, id_field, "The record does not exist")
        if record.get("ContactStatus", "ACTIVE") != "ACTIVE":
            return self._error(element, id_field, "The contact is archived and can't be edited")
        fields = {key: value for key, value in element.items() if key != id_field}
        self._write(name, element[id_field], fields, by)
        return {**self.records[name][element[id_field]], "StatusAttributeString": "OK"}

    def _error(self, element: dict[str, Any], id_field: str, said: str) -> dict[str, Any]:
        errors = {"StatusAttributeString": "ERROR", "ValidationErrors": [{"Message": said}]}
        return {id_field: NO_ID, **element, **errors}

    def new_id(self) -> str:
        self._ids += 1
        return f"00000000-0000-4000-9000-{self._ids:012d}"

    def _make(self, name: str, id_field: str, element: dict[str, Any], by: str) -> dict[str, Any]:
        record_id = self.new_id()
        own: dict[str, Any] = {id_field: record_id, "UpdatedDateUTC": self._stamp()}
        if name == "Contact":
            own["ContactStatus"] = "ACTIVE"
        else:
            total = sum(line["Quantity"] * line["UnitAmount"] for line in element["LineItems"])
            own |= {"SubTotal": total, "Total": total, "Status": element["Status"]}
            own.setdefault("InvoiceNumber", f"INV-{self._ids:04d}")
            if "InvoiceNumber" in element:
                own["InvoiceNumber"] = element["InvoiceNumber"]
        record = {**element, **own}
        self.records[name][record_id] = record
        self.changes.append(Change(self.clock.at, self.side, name, "create", record_id, element, by))
        return {**record, "StatusAttributeString": "OK"}

    def _write(self, name: str, record_id: str, fields: Mapping[str, Any], by: str) -> None:
        record = self.records[name][record_id]
        before = {key: record.get(key) for key in fields}
        record.update(fields)
        record["UpdatedDateUTC"] = self._stamp()
        self.changes.append(
            Change(self.clock.at, self.side, name, "update", record_id, dict(fields), by, before)
        )

    def make_by_hand(self, invoice: dict[str, Any]) -> None:
        """A person makes an invoice."""
        self._make("Invoice", "InvoiceID", invoice, "person")

    def edit(self, name: str, record_id: str, fields: Mapping[str, Any]) -> None:
        """A person types."""
        self._write(name, record_id, fields, "person")

    def _stamp(self) -> str:
        return f"/Date({int(self.clock.now().timestamp() * 1000)}+0000)/"

    # -- reading

    def read(
        self,
        name: str,
        *,
        modified_since: datetime | None = None,
        where: str | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        found = list(self.records[name].values())
        if ids is not None:
            wanted = set(ids)
            return [one for one in found if one[XERO_LISTS[name][1]] in wanted]
        if where is not None:
            asked = {(key, value.casefold()) for key, value in re.findall(r'(\w+)=="([^"]*)"', where)}
            return [
                one for one in found if any(str(one.get(key, "")).casefold() == value for key, value in asked)
            ]
        if modified_since is not None:
            since_ms = modified_since.timestamp() * 1000
            return [one for one in found if int(one["UpdatedDateUTC"][6:19]) >= since_ms - 1000]
        return found


class Salesforce:
    """One org."""

    side = "salesforce"
    PREFIX = {"Account": "001", "Opportunity": "006"}
    EXTERNAL = "ExternalID__c"

    def __init__(self, clock: Clock, count: Any) -> None:
        self.clock, self._count = clock, count
        self.records: dict[str, dict[str, dict[str, Any]]] = {"Account": {}, "Opportunity": {}}
        self.changes: list[Change] = []
        self._ids = 500

    # -- writing

    def arrive(
        self, method: str, path: str, body: bytes, key: str | None, fault: str = ""
    ) -> tuple[int, bytes]:
        digest = hashlib.sha256(method.encode() + path.encode() + body).hexdigest()
        if fault == "500_clean":
            return 500, b'[{"errorCode":"UNKNOWN_EXCEPTION","message":"An error"}]'
        if fault == "400_whole":
            return 400, b'[{"errorCode":"JSON_PARSER_ERROR","message":"no"}]'
        if path == "composite":
            return self._composite(json.loads(body)["compositeRequest"], digest, fault)
        rows = json.loads(body)["records"]
        told = []
        for place, row in enumerate(rows):
            refuse = fault if fault in ("partial", "busy") and place == len(rows) - 1 else ""
            told.append(self._row(path, row, digest, refuse))
        if fault == "500_applied":
            return 500, b'[{"errorCode":"UNKNOWN_EXCEPTION","message":"An error"}]'
        return 200, _dumps(told)

    def _composite(self, asked: list[dict[str, Any]], by: str, fault: str) -> tuple[int, bytes]:
        """Each call within the call has a status of its own, and a condition of its own."""
        told = []
        for place, one in enumerate(asked):
            refuse = fault if fault in ("partial", "busy") and place == len(asked) - 1 else ""
            status, answer = self._subrequest(one, by, refuse)
            told.append({"referenceId": one["referenceId"], "httpStatusCode": status, "body": answer})
        if fault == "500_applied":
            return 500, b'[{"errorCode":"UNKNOWN_EXCEPTION","message":"An error"}]'
        return 200, _dumps({"compositeResponse": told})

    def _subrequest(self, one: dict[str, Any], by: str, refuse: str) -> tuple[int, Any]:
        if refuse:
            code = "UNABLE_TO_LOCK_ROW" if refuse == "busy" else "FIELD_CUSTOM_VALIDATION_EXCEPTION"
            return 400, [{"errorCode": code, "message": "refused"}]
        name, record_id = one["url"].split("/")[-2:]
        record = self.records[name].get(record_id)
        if record is None or record["IsDeleted"]:
            return 404, [{"errorCode": "NOT_FOUND", "message": "gone"}]
        since = one.get("httpHeaders", {}).get("If-Unmodified-Since")
        modified = datetime.fromisoformat(record["SystemModstamp"]).replace(microsecond=0)
        if since is not None and modified > parsedate_to_datetime(since):
            self._count("refused_by_guard")
            return 412, [{"errorCode": "PRECONDITION_FAILED", "message": "changed since"}]
        self._write(name, record_id, one["body"], by, US)
        return 204, None

    def _row(self, path: str, row: dict[str, Any], by: str, refuse: str) -> dict[str, Any]:
        if refuse:
            code = "UNABLE_TO_LOCK_ROW" if refuse == "busy" else "FIELD_CUSTOM_VALIDATION_EXCEPTION"
            return {"success": False, "errors": [{"statusCode": code, "message": "refused", "fields": []}]}
        name = row["attributes"]["type"]
        fields = {key: value for key, value in row.items() if key not in ("attributes", "id")}
        if "id" in row:
            record = self.records[name].get(row["id"])
            if record is None or record["IsDeleted"]:
                return {"success": False, "errors": [{"statusCode": "ENTITY_IS_DELETED", "message": "gone"}]}
            self._write(name, row["id"], fields, by, US)
            return {"success": True, "id": row["id"], "errors": []}
        held = next(
            (
                one
                for one in self.records[name].values()
                if one.get(self.EXTERNAL) == fields[self.EXTERNAL] and not one["IsDeleted"]
            ),
            None,
        )
        if held is not None:
            self._count("upsert_found")
            self._write(name, held["Id"], fields, by, US)
            return {"success": True, "id": held["Id"], "created": False, "errors": []}
        self._ids += 1
        record_id = f"{self.PREFIX[name]}{self._ids:012d}AAA"
        self.records[name][record_id] = {"Id": record_id, "IsDeleted": False, **fields}
        self._touch(name, record_id, US)
        self.changes.append(Change(self.clock.at, self.side, name, "create", record_id, fields, by))
        return {"success": True, "id": record_id, "created": True, "errors": []}

    def _touch(self, name: str, record_id: str, who: str) -> None:
        self.records[name][record_id] |= {
            "SystemModstamp": self.clock.now().isoformat(),
            "LastModifiedById": who,
        }

    def _write(self, name: str, record_id: str, fields: Mapping[str, Any], by: str, who: str) -> None:
        record = self.records[name][record_id]
        before = {key: record.get(key) for key in fields}
        record.update(fields)
        self._touch(name, record_id, who)
        self.changes.append(
            Change(self.clock.at, self.side, name, "update", record_id, dict(fields), by, before)
        )

    def edit(self, name: str, record_id: str, fields: Mapping[str, Any]) -> None:
        self._write(name, record_id, fields, "person", SOMEBODY)

    # -- reading

    def read(self, soql: str) -> tuple[str, list[dict[str, Any]]]:
        """Give the object that a query asks for, and its records."""
        name = re.search(r" from (\w+)", soql)[1]
        return name, self._found(name, soql)

    def _found(self, name: str, soql: str) -> list[dict[str, Any]]:
        found = list(self.records[name].values())
        inside = re.search(r" where (\w+) in \((.*)\)", soql)
        if inside:
            wanted = {one.casefold() for one in re.findall(r"'([^']*)'", inside[2])}
            return [one for one in found if str(one.get(inside[1]) or "").casefold() in wanted]
        since = re.search(r"SystemModstamp >= ([\dTZ:-]+)", soql)
        if since:
            at = datetime.fromisoformat(since[1].replace("Z", "+00:00"))
            return [one for one in found if datetime.fromisoformat(one["SystemModstamp"]) >= at]
        return found


def pages(bodies: Sequence[dict[str, Any]], id_field: str, now: datetime) -> Iterator[Page]:
    """Give what was read as the clients do: copies, in one page."""
    rows = [Row(one[id_field], dict(one), "") for one in bodies]
    yield Page(rows, len(rows), now, last=True)


__all__ = ["BEGINNING", "Change", "Salesforce", "Xero", "pages", "timedelta"]
