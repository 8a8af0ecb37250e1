"""Examines a pair before it is used: what is set, what is allowed, what is missing, and how to mend each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal
from xml.sax.saxutils import escape

from pipelines.clients import Clients
from pipelines.governor import Governor
from pipelines.salesforce.source import CURRENCIES, LEFT_OUT, MERGED, NEEDED, OBJECTS, PRODUCTS
from pipelines.settings import Settings
from reconcile.errors import ReconcileError
from reconcile.mapped import SHOWN_BY, SHOWN_FIELDS, settling_fields

if TYPE_CHECKING:
    import polars as pl

    from pipelines.xero.client import XeroClient
    from reconcile.mapped import BillMapping, DocumentMapping
    from reconcile.mapping import Mapping as FieldMapping

State = Literal["ok", "warn", "fail"]

SKEW_WARN_S: Final = 30.0
SKEW_FAIL_S: Final = 180.0  # a JWT of three minutes would be refused
XERO_READER: Final = ("accounting.contacts.read", "accounting.settings.read")
XERO_WRITER: Final = ("accounting.contacts", "accounting.settings.read")
BROAD: Final = {
    "accounting.contacts.read": "accounting.contacts",
    "accounting.settings.read": "accounting.settings",
    "accounting.invoices.read": "accounting.invoices",
}


@dataclass(frozen=True)
class Finding:
    """One check: how it stands, what was found, and what to do about it (empty where all is well)."""

    check: str
    state: State
    found: str
    next_step: str = ""


@dataclass(frozen=True)
class Rights:
    """The least that a role needs on both sides. permission_set: Salesforce metadata, ready to deploy."""

    role: Literal["reader", "writer"]
    xero_scopes: tuple[str, ...]
    salesforce_user: tuple[str, ...]
    salesforce_objects: Mapping[str, tuple[str, ...]]
    salesforce_fields: Mapping[str, tuple[str, ...]]
    permission_set: str


def examine(
    settings: Settings, clients: Clients, fields: pl.DataFrame | None, mapping: FieldMapping | None
) -> list[Finding]:
    """Examine settings, both logins, rights, clocks and limits; about ten calls, none of which writes.

    fields: FIELDS of the last sweep or null, for what went since then. mapping: null leaves its checks out.
    Raises nothing that a system can answer: what fails is a finding.
    """
    findings = list(_settings(settings))
    findings += _guarded("salesforce login", lambda: _salesforce(settings, clients, fields, mapping))
    findings += _guarded("xero login", lambda: _xero(settings, clients, mapping))
    findings += _clock("salesforce", clients.salesforce.wire.skew_s)
    findings += _clock("xero", clients.xero.wire.skew_s)
    findings += _limits("salesforce", clients.salesforce.wire.governor)
    findings += _limits("xero", clients.xero.wire.governor)
    return findings


def least_rights(
    mapping: FieldMapping, described: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Rights, Rights]:
    """Give (reader, writer): the least scopes and permissions that this mapping needs.

    described: object -> describe, where it is known: it tells which fields a permission set may name.
    """
    return _rights(mapping, described or {}, "reader"), _rights(mapping, described or {}, "writer")


# --- Settings ----------------------------------------------------------------------------------------


def _settings(settings: Settings) -> Iterator[Finding]:
    missing = [name for name, value in _demanded(settings).items() if not value]
    if missing:
        yield Finding("settings", "fail", f"not set: {', '.join(missing)}", "Set them in the settings file.")
    else:
        yield Finding("settings", "ok", "all that the logins need is set")
    key_file = settings.salesforce.private_key_file
    if key_file is not None and not key_file.is_file():
        yield Finding(
            "salesforce key", "fail", f"{key_file}: no such file", "Correct salesforce.private_key_file."
        )
    unlocked = [name for name, key in _keys(settings).items() if not key]
    if unlocked:
        state: State = "warn" if settings.pair.environment == "production" else "ok"
        step = "Set each to 64 hex digits from outside (RECONCILE_JOURNAL__KEY, RECONCILE_WAREHOUSE__KEY)."
        found = f"without encryption: {', '.join(unlocked)}"
        yield Finding("encryption", state, found, step if state == "warn" else "")
    else:
        yield Finding("encryption", "ok", "journal and warehouse are encrypted")


def _demanded(settings: Settings) -> dict[str, bool]:
    salesforce, xero = settings.salesforce, settings.xero
    wanted = {
        "xero.client_id": bool(xero.client_id),
        "xero.client_secret": bool(xero.client_secret.get_secret_value()),
        "salesforce.client_id": bool(salesforce.client_id),
    }
    if salesforce.auth == "jwt":
        wanted["salesforce.username"] = bool(salesforce.username)
        wanted["salesforce.private_key_file"] = salesforce.private_key_file is not None
    else:
        wanted["salesforce.client_secret"] = bool(salesforce.client_secret.get_secret_value())
    return wanted


def _keys(settings: Settings) -> dict[str, bool]:
    return {
        "journal.key": bool(settings.journal.key.get_secret_value()),
        "warehouse.key": bool(settings.warehouse.key.get_secret_value()),
    }


# --- Salesforce --------------------------------------------------------------------------------------


def _salesforce(
    settings: Settings, clients: Clients, fields: pl.DataFrame | None, mapping: FieldMapping | None
) -> Iterator[Finding]:
    client = clients.salesforce
    client.auth.session()
    yield Finding("salesforce login", "ok", f"{settings.salesforce.auth} at {settings.salesforce.login_url}")
    yield from _guarded("salesforce API version", lambda: _version(settings, client.versions()))
    yield from _guarded("salesforce organisation", lambda: _org(settings, client.org()))
    invoice = mapping.invoice if mapping is not None else None
    products = [name for name in PRODUCTS if mapping is not None and name in mapping.fields("salesforce")]
    invoiced = invoice.fields("salesforce") if invoice else ()
    shown = SHOWN_BY if mapping is not None and SHOWN_BY.keys() <= mapping.pulled("salesforce").keys() else ()
    own = [one.salesforce for one in (mapping.payments, mapping.bill) if one] if mapping is not None else []
    for name in dict.fromkeys((*OBJECTS, *products, *invoiced, *shown, *own)):
        yield from _guarded(f"salesforce {name}", lambda name=name: _object(clients, name, fields, mapping))


def _version(settings: Settings, offered: list[str]) -> Iterator[Finding]:
    wanted = settings.salesforce.api_version
    if wanted in offered:
        yield Finding("salesforce API version", "ok", f"{wanted} is offered")
        return
    newest = offered[-1] if offered else "none"
    yield Finding(
        "salesforce API version", "fail", f"{wanted} is not offered; the newest is {newest}",
        f"Set salesforce.api_version to {newest}.",
    )  # fmt: skip


def _org(settings: Settings, org: Mapping[str, Any]) -> Iterator[Finding]:
    really = "sandbox" if org.get("IsSandbox") else "production"
    found = f"org {org.get('Id')} on {org.get('InstanceName')}: {really}"
    if really == settings.pair.environment:
        yield Finding("salesforce organisation", "ok", found)
    else:
        # A Developer Edition says that it is no sandbox, so that this can't be more than a warning.
        step = f"pair.environment says {settings.pair.environment}: check that this is the org you mean."
        yield Finding("salesforce organisation", "warn", found, step)


def _object(
    clients: Clients, name: str, known: pl.DataFrame | None, mapping: FieldMapping | None
) -> Iterator[Finding]:
    described = clients.salesforce.describe(name)
    seen = {field["name"]: field for field in described["fields"]}
    wanted = set(NEEDED) if name in MERGED else set(NEEDED) - {"MasterRecordId"}
    hidden = sorted(wanted - seen.keys())
    yield _verdict(
        f"salesforce {name}: system fields", hidden, "can't be read: ", "all readable",
        "Give the user read access to the object.",
    )  # fmt: skip
    if mapping is not None:
        yield from _mapped_fields(name, described, seen, mapping)
    if known is not None and known.height:
        yield from _gone_since_sweep(name, seen, known)


def _mapped_fields(
    name: str, described: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]], mapping: FieldMapping
) -> Iterator[Finding]:
    wanted = _readable(mapping).get(name, set())
    custom = sorted(field for field in wanted if field.endswith("__c") and field not in seen)
    standard = sorted(field for field in wanted if not field.endswith("__c") and field not in seen)
    yield _verdict(
        f"salesforce {name}: custom fields of the mapping", custom, "missing or hidden: ", "all there",
        "Deploy the shipped metadata, or grant read access to them (the permission set below does).",
    )  # fmt: skip
    yield _verdict(
        f"salesforce {name}: standard fields of the mapping", standard, "hidden: ", "all readable",
        "Grant read access to them (field-level security; the permission set below does).",
    )  # fmt: skip
    received = _writable(mapping).get(name, set())
    locked = sorted(field for field in received if field in seen and not seen[field].get("updateable"))
    if not described.get("updateable", True):
        locked = sorted(received)
    yield _verdict(
        f"salesforce {name}: fields that the mapping writes", locked, "read-only for this user: ", "all writable",
        "Needed by the writer only: grant edit access to them (the permission set below does).", worst="warn",
    )  # fmt: skip
    yield from _stages(name, seen, mapping)
    reference = seen.get("ExternalID__c")
    if reference is not None and not (reference.get("externalId") and reference.get("unique")):
        yield Finding(
            f"salesforce {name}: ExternalID__c", "fail", "is not an external id, or not unique",
            "Set both on the field: creating without twins rests on it.",
        )  # fmt: skip


def _stages(name: str, seen: Mapping[str, Mapping[str, Any]], mapping: FieldMapping) -> Iterator[Finding]:
    """Hold the mapped stages against those of the org: with a wrong name no deal is ever won."""
    sources = mapping.invoice.sources if mapping.invoice else ()
    invoice = next((one for one in sources if one.salesforce == name), None)
    if invoice is None or invoice.stages is None:
        return
    known = [str(one.get("value")) for one in seen.get(invoice.source.stage, {}).get("picklistValues") or ()]
    wrong = [stage for stage in invoice.stages if stage not in known]
    near = [other for stage in wrong for other in get_close_matches(stage, known, n=1)]
    yield _verdict(
        f"salesforce {name}: stages of the mapping", wrong, "not in the org: ", "all there",
        f"Correct {invoice.path}.salesforce.stages in the mapping" + (f"; near: {', '.join(near)}." if near else "."),
    )  # fmt: skip


def _gone_since_sweep(
    name: str, seen: Mapping[str, Mapping[str, Any]], known: pl.DataFrame
) -> Iterator[Finding]:
    import polars as pl

    before = known.filter(pl.col("side").cast(pl.String) == "salesforce", pl.col("object") == name)
    gone = sorted(set(before["field"]) - seen.keys())
    if gone:
        yield Finding(
            f"salesforce {name}: since the last sweep", "warn", f"gone or hidden: {', '.join(gone)}",
            "Run `reconcile pull --full`; correct the mapping where it names one of them.",
        )  # fmt: skip


def _verdict(
    check: str, wrong: list[str], prefix: str, well: str, next_step: str, *, worst: State = "fail"
) -> Finding:
    if not wrong:
        return Finding(check, "ok", well)
    return Finding(check, worst, prefix + ", ".join(wrong), next_step)


# --- Xero --------------------------------------------------------------------------------------------


def _xero(settings: Settings, clients: Clients, mapping: FieldMapping | None) -> Iterator[Finding]:
    client = clients.xero
    client.auth.access_token()
    yield Finding("xero login", "ok", f"{settings.xero.auth} at {settings.xero.identity_url}")
    yield from _guarded("xero tenant", lambda: _tenant(settings, client.connections()))
    yield from _guarded("xero organisation", lambda: _organisation(client.organisation()))
    yield from _guarded("xero contacts", lambda: _contacts(clients))
    if mapping is not None and mapping.invoice is not None:
        for invoice in mapping.invoice.sources:
            yield from _guarded("xero codes of the mapping", lambda invoice=invoice: _codes(client, invoice))
    if mapping is not None and mapping.bill is not None:
        bill = mapping.bill
        yield from _guarded("xero codes of bills", lambda: _codes_of_bills(client, bill))
    yield _scopes(client.auth.granted_scopes(), mapping)


def _codes_of_bills(client: XeroClient, bill: BillMapping) -> Iterator[Finding]:
    """Hold the account and the tax of bills against the organisation's own, as a plan does."""
    import polars as pl

    from reconcile.bills import codes_fault
    from reconcile.codes import read_chart
    from reconcile.model import RAW, conform

    def read(name: str) -> pl.DataFrame:
        rows = [row for page in client.pages(name) for row in page.rows]
        found = [{"record_id": row.record_id, "body": row.text, "deleted": False} for row in rows]
        return conform(pl.DataFrame(found), RAW)

    fault = codes_fault(read_chart(read("Account"), read("TaxRate")), bill)
    yield _verdict(
        "xero codes of bills", [fault] if fault else [], "",
        f"{bill.account} takes expenses" + (f", with {bill.tax}" if bill.tax else ""),
        "Correct `account` or `tax` of documents.bill in the mapping.",
    )  # fmt: skip


def _codes(client: XeroClient, invoice: DocumentMapping) -> Iterator[Finding]:
    """Hold the account and the tax of invoices against the organisation's own."""
    rules = invoice.codes.rules if invoice.codes else ()
    accounts = dict.fromkeys([invoice.account, *(rule.account for rule in rules)])
    taxes = dict.fromkeys([invoice.tax, *(rule.tax for rule in rules)])
    asked = [
        *(("account", "Account", "Code", code) for code in accounts if code is not None),
        *(("tax", "TaxRate", "TaxType", code) for code in taxes if code is not None),
    ]
    for what, object_name, field, code in asked:
        rows = [row.body for page in client.pages(object_name) for row in page.rows]
        known = {str(row.get(field)): str(row.get("Status") or "ACTIVE") for row in rows if row.get(field)}
        status = known.get(code, "not in Xero")
        near = get_close_matches(code, known, n=3, cutoff=0.4)
        yield _verdict(
            f"xero {what} of the mapping", [] if status == "ACTIVE" else [f"{code}: {status.lower()}"], "",
            f"{code} is there", f"Correct {invoice.path}.lines.{what} in the mapping"
            + (f"; near it: {', '.join(near)}." if near else "."),
        )  # fmt: skip


def _tenant(settings: Settings, connections: list[dict[str, Any]]) -> Iterator[Finding]:
    tenants = [str(entry.get("tenantId")) for entry in connections]
    wanted = settings.xero.tenant_id
    if wanted in tenants:
        yield Finding("xero tenant", "ok", f"{wanted} is connected")
    elif not wanted and len(tenants) == 1:
        yield Finding(
            "xero tenant", "warn", f"xero.tenant_id is not set; one organisation is connected: {tenants[0]}",
            f"Set xero.tenant_id to {tenants[0]}.",
        )  # fmt: skip
    else:
        yield Finding(
            "xero tenant", "fail", f"{wanted or 'no tenant'} is set; connected: {', '.join(tenants) or 'none'}",
            "Set xero.tenant_id to the tenantId (not the connection's id), or connect the app again.",
        )  # fmt: skip


def _organisation(organisation: Mapping[str, Any]) -> Iterator[Finding]:
    currency = organisation.get("BaseCurrency")
    if currency:
        yield Finding("xero base currency", "ok", str(currency))
    else:
        yield Finding(
            "xero base currency",
            "fail",
            "the organisation names none",
            "Finish the set-up of the organisation.",
        )


def _contacts(clients: Clients) -> Iterator[Finding]:
    page = clients.xero.page("Contact", size=1)
    found = f"readable ({page.total} in all)" if page.total is not None else "readable"
    yield Finding("xero contacts", "ok", found)


def _scopes(granted: frozenset[str], mapping: FieldMapping | None) -> Finding:
    if not granted:
        return Finding("xero scopes", "warn", "the login did not say which it granted", "")

    def lacking(wanted: tuple[str, ...]) -> list[str]:
        return [scope for scope in wanted if scope not in granted and BROAD.get(scope) not in granted]

    if missing := lacking(_xero_scopes(mapping, "reader")):
        return Finding(
            "xero scopes", "fail", f"missing: {', '.join(missing)}",
            "Add them to the app and to xero.scopes, and connect again.",
        )  # fmt: skip
    if missing := lacking(_xero_scopes(mapping, "writer")):
        return Finding(
            "xero scopes", "warn", f"enough to read; to write it lacks {', '.join(missing)}",
            "Add them to the app and to xero.scopes when writes are to be enabled.",
        )  # fmt: skip
    return Finding("xero scopes", "ok", "enough to read and write what the mapping names")


def _xero_scopes(mapping: FieldMapping | None, role: Literal["reader", "writer"]) -> tuple[str, ...]:
    # Items belong to the scope of invoices.
    invoices = mapping is not None and bool(mapping.invoice or mapping.bill or "product" in mapping.entities)
    reads = ["accounting.payments.read"] if mapping is not None and mapping.settling is not None else []
    if role == "reader":
        return (*XERO_READER, *(["accounting.invoices.read"] if invoices else []), *reads)
    writes = ["accounting.payments"] if mapping is not None and mapping.payments is not None else reads
    # To make an option of tracking is to change settings.
    options = mapping is not None and mapping.invoice is not None and mapping.invoice.options == "on_demand"
    own = [BROAD[scope] if options and scope in BROAD else scope for scope in XERO_WRITER]
    return (*own, *(["accounting.invoices"] if invoices else []), *writes)


# --- Both --------------------------------------------------------------------------------------------


def _clock(side: str, skew_s: float | None) -> Iterator[Finding]:
    if skew_s is None:
        return
    found = f"{side}'s clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours"
    if abs(skew_s) <= SKEW_WARN_S:
        yield Finding(f"{side} clock", "ok", found)
        return
    state: State = "fail" if abs(skew_s) > SKEW_FAIL_S and side == "salesforce" else "warn"
    # Cursors use the vendor's clock; only logins by JWT and the age of tokens use ours.
    yield Finding(f"{side} clock", state, found, "Set this machine's clock (NTP): logins by JWT need it.")


def _limits(side: str, governor: Governor) -> Iterator[Finding]:
    left, total = governor.day_left, governor.day_total
    if left is None or not total:
        return
    found = f"{left} of {total} calls left today; {governor.day_reserve:.0%} are kept for others"
    if left <= total * governor.day_reserve:
        yield Finding(f"{side} limits", "fail", found, "Wait until the day is over, or lower the reserve.")
    elif left <= 2 * total * governor.day_reserve:
        yield Finding(f"{side} limits", "warn", found, "Runs may stop before the day is over.")
    else:
        yield Finding(f"{side} limits", "ok", found)


def _guarded(check: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; what it can't find out is a finding as well."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except ReconcileError as error:
        message, _, step = str(error).partition(". ")
        found.append(Finding(check, "fail", message, step))
    return found


# --- Least rights ------------------------------------------------------------------------------------


def _readable(mapping: FieldMapping) -> dict[str, set[str]]:
    # Rights to currencies can't be given object by object.
    named = mapping.pulled("salesforce").items()
    return {name: set(fields) for name, fields in named if name not in CURRENCIES}


def _writable(mapping: FieldMapping) -> dict[str, set[str]]:
    """Object -> fields that the mapping lets Salesforce receive."""
    wanted: dict[str, set[str]] = {}
    for entity in mapping.entities.values():
        fields = wanted.setdefault(entity.salesforce.object, set())
        for unit in entity.units:
            fields.update(unit.leaves("salesforce") if unit.receives("salesforce") else ())
        fields.update(projection.salesforce for projection in entity.projections)
        fields.update({entity.salesforce.reference} if entity.salesforce.reference else ())
    if mapping.invoice is not None:
        for one in mapping.invoice.sources:
            wanted.setdefault(one.salesforce, set()).update(one.link.fields.values())
    for made in (mapping.payments, mapping.bill):
        if made is not None:
            wanted.setdefault(made.salesforce, set()).update(made.link.values())
    if mapping.settling is not None:
        for name in settling_fields(mapping.settling, "salesforce"):
            wanted.setdefault(name, set()).update(SHOWN_FIELDS[name])
    return wanted


def _creates(mapping: FieldMapping) -> set[str]:
    made = {
        entity.salesforce.object
        for entity in mapping.entities.values()
        if entity.create.get("salesforce", "never") != "never"
    }
    return made | ({*SHOWN_BY} if mapping.settling is not None else set())


def _rights(
    mapping: FieldMapping, described: Mapping[str, Mapping[str, Any]], role: Literal["reader", "writer"]
) -> Rights:
    readable, writable = _readable(mapping), _writable(mapping)
    objects: dict[str, tuple[str, ...]] = {}
    fields: dict[str, tuple[str, ...]] = {}
    for name, wanted in sorted(readable.items()):
        # Without View All, sharing hides rows, and a sweep would take them for gone.
        allowed = ["read", "view all records"]
        if role == "writer" and writable.get(name):
            allowed += ["edit", "modify all records"]
            allowed += ["create"] if name in _creates(mapping) else []
        objects[name] = tuple(allowed)
        fields[name] = tuple(sorted(field for field in wanted if _may_be_granted(described.get(name), field)))
    edited = writable if role == "writer" else {}
    return Rights(
        role=role,
        xero_scopes=_xero_scopes(mapping, role),
        salesforce_user=("API Enabled",),
        salesforce_objects=objects,
        salesforce_fields=fields,
        permission_set=_permission_set(role, objects, fields, edited),
    )


UNGRANTABLE: Final = frozenset({*NEEDED, "Name", "LastName", "OwnerId", "CreatedDate", "LastModifiedDate"})


def _may_be_granted(described: Mapping[str, Any] | None, name: str) -> bool:
    """Say whether a permission set may name the field: required and system fields are always visible."""
    fields = described["fields"] if described else []
    field = next((field for field in fields if field["name"] == name), None)
    if field is not None and field.get("compoundFieldName") == "Name":
        return False  # FirstName, LastName: rights are those of Name, which is required
    if field is not None and field.get("custom") and field["type"] == "boolean":
        return True  # never empty, and yet hidden unless it is granted
    if field is not None and "permissionable" in field:
        return bool(field["permissionable"])
    return name not in UNGRANTABLE and (field is None or field["type"] not in LEFT_OUT)


def _permission_set(
    role: str,
    objects: Mapping[str, tuple[str, ...]],
    fields: Mapping[str, tuple[str, ...]],
    edited: Mapping[str, set[str]],
) -> str:
    """Give the permission set as Salesforce metadata (API 67.0); no delete in it, ever."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    parts.append('<PermissionSet xmlns="http://soap.sforce.com/2006/04/metadata">')
    parts.append(f"    <description>The least that the reconciler's {role} needs.</description>")
    for name, names in fields.items():
        for field in _grantable_addresses(names):
            editable = field in _grantable_addresses(edited.get(name, ()))
            parts.append(
                f"    <fieldPermissions><editable>{str(editable).lower()}</editable>"
                f"<field>{escape(name)}.{escape(field)}</field><readable>true</readable></fieldPermissions>"
            )
    parts.append(f"    <label>Reconciler {role}</label>")
    for name, allowed in objects.items():
        flags = {
            "allowCreate": "create" in allowed,
            "allowDelete": False,
            "allowEdit": "edit" in allowed,
            "allowRead": True,
            "modifyAllRecords": "modify all records" in allowed,
            "viewAllRecords": True,
        }
        inner = "".join(f"<{flag}>{str(value).lower()}</{flag}>" for flag, value in flags.items())
        parts.append(f"    <objectPermissions>{inner}<object>{escape(name)}</object></objectPermissions>")
    parts.append(
        "    <userPermissions><enabled>true</enabled><name>ApiEnabled</name></userPermissions>\n</PermissionSet>"
    )
    return "\n".join(parts) + "\n"


def _grantable_addresses(names: Any) -> list[str]:
    """Name an address by its compound field: rights are given to the whole of it (BillingStreet ...)."""
    found: set[str] = set()
    for name in names:
        prefix = next((p for p in ADDRESSES if name.startswith(p) and name[len(p) :] in ADDRESS_PARTS), None)
        found.add(f"{prefix}Address" if prefix else name)
    return sorted(found)


ADDRESSES: Final = ("Billing", "Shipping", "Mailing", "Other")
ADDRESS_PARTS: Final = frozenset(
    {"Street", "City", "State", "PostalCode", "Country", "StateCode", "CountryCode", "Latitude", "Longitude"}
)
