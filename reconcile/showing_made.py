"""Shows on a record of Salesforce what was made of it in Xero: its id and its status, as operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconcile.bodies import dumps
from reconcile.mapped import BillMapping, PaymentMapping
from reconcile.operations import Row, operation_row

REASONS: Final = {
    "bill": "it shows the bill that is made of it",
    "payment": "it shows the payment that is recorded of it",
}


def shown_of_new(
    entity: str, row: Mapping[str, Any], made_by: str, mapping: BillMapping | PaymentMapping
) -> list[Row]:
    """Give the operation that shows what another one makes; none where the mapping shows nothing.

    Takes a row with record_id, and shown_id and shown_status: what its fields hold now.
    """
    desired = {"id": {"$from": made_by}, "status": {"$from": made_by, "field": "Status"}}
    return _shown(entity, row, None, desired, [*mapping.link], mapping, made_by)


def shown_again(
    entity: str, row: Mapping[str, Any], made_id: str, status: str, mapping: BillMapping | PaymentMapping
) -> list[Row]:
    """Give the operation that shows what is true of what was made; none where its fields say so already."""
    desired = {"id": made_id, "status": status}
    unlike = [name for name in mapping.link if row[f"shown_{name}"] != desired[name]]
    return _shown(entity, row, made_id, desired, unlike, mapping)


def _shown(
    entity: str,
    row: Mapping[str, Any],
    made_id: str | None,
    desired: Mapping[str, Any],
    names: list[str],
    mapping: BillMapping | PaymentMapping,
    made_by: str | None = None,
) -> list[Row]:
    if not names:
        return []
    now = dumps({mapping.link[name]: row[f"shown_{name}"] for name in names})
    then = dumps({mapping.link[name]: desired[name] for name in names})
    return [
        operation_row(
            entity,
            mapping.salesforce,
            system="salesforce",
            record_id=row["record_id"],
            source_id=made_id,
            action="update",
            phase="change",
            unit="reference",
            before=now,
            after=then,
            native_before=now,
            native_after=then,
            reason=REASONS[entity],
            rule=f"projection {mapping.at}",
            depends_on=made_by,
        )
    ]
