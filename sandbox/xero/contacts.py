"""Keeps the contacts: who is meant by a write, what may not be there twice, archiving and merging."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sandbox.clock import Clock
from sandbox.dialect import Dialect
from sandbox.store import Body, Store
from sandbox.xero import history, shapes, tracking
from sandbox.xero.books import Books, Written
from sandbox.xero.mangle import clean

KIND = "contact"
READ_ONLY_STATUS = "ARCHIVED"

# recorded
NAME_TAKEN = (
    "The contact name {} is already assigned to another contact. "
    "The contact name must be unique across all active contacts."
)
ARCHIVED = (
    "The specified contact details matched an archived contact. "
    "Archived contacts cannot currently be edited via the API."
)
# second hand
ACCOUNT_NUMBER_TAKEN = "The Account Number already exists. Please enter a different Account Number."
# unconfirmed: the wording, by analogy
CONTACT_NUMBER_TAKEN = "The Contact Number already exists. Please enter a different Contact Number."
CONTACT_EXISTS = "The contact already exists."


class UnknownContact(Exception):
    """A write names a ContactID that there is not: the whole request answers 404 (recorded)."""


def declare(store: Store) -> None:
    """The look-ups that matching and uniqueness need; each is an index, never a scan."""
    store.declare(
        KIND,
        name=lambda contact: _key(contact, "Name") if contact["ContactStatus"] != "ARCHIVED" else None,
        archived_name=lambda contact: (
            _key(contact, "Name") if contact["ContactStatus"] == "ARCHIVED" else None
        ),
        ContactNumber=lambda contact: _key(contact, "ContactNumber"),
        AccountNumber=lambda contact: _key(contact, "AccountNumber"),
    )


def _key(contact: Body, name: str) -> str | None:
    value = contact.get(name)
    return value.casefold() if value else None


def write(books: Books, elements: Iterable[Body], *, create_only: bool) -> list[Written]:
    """Write each element that is right, in order; raises UnknownContact for the whole."""
    return [_write_one(books, sent, create_only=create_only) for sent in elements]


def _write_one(books: Books, sent: Body, *, create_only: bool) -> Written:
    values, errors = clean(sent, books.dialect)
    values |= tracking.of_contact(books, sent, errors)
    existing = _meant(books, sent, values, create_only=create_only)
    contact_id = existing["ContactID"] if existing else None
    if existing and create_only:
        return Written(sent, None, None, [_exists(existing, values)])
    if existing and _is_closed(existing, values, books):
        return Written(sent, None, contact_id, [ARCHIVED])
    contact = _applied(existing or _fresh(), values, books.dialect)
    if "Name" not in contact and not errors:
        errors.append("The contact name must be specified.")  # unconfirmed: the wording
    errors += _taken(books, contact, existing)
    if errors:
        return Written(sent, None, contact_id, errors)
    return Written(sent, _save(books, contact, existing), contact["ContactID"])


def _meant(books: Books, sent: Body, values: Body, *, create_only: bool) -> Body | None:
    """The contact that an element means: by ContactID, else ContactNumber, else Name (second hand)."""
    if sent.get("ContactID"):
        contact = books.store.get(KIND, str(sent["ContactID"]).lower())
        if contact is None:
            raise UnknownContact(sent["ContactID"])
        return contact
    by_number = _holder(books, "ContactNumber", values.get("ContactNumber"))
    return (
        by_number or _active_of_that_name(books, values) or _archived_of_that_name(books, values, create_only)
    )


def _holder(books: Books, name: str, value: str | None) -> Body | None:
    """Who holds a ContactNumber or AccountNumber, by the dialect's ideas of case and of the archived."""
    if not value:
        return None
    for contact_id in books.store.find(KIND, name, value.casefold()):
        contact = books.store.get(KIND, contact_id) or {}
        if books.dialect["number_case"] == "sensitive" and contact[name] != value:
            continue
        if books.dialect["numbers_of_archived"] == "freed" and contact["ContactStatus"] == READ_ONLY_STATUS:
            continue
        return contact
    return None


def of_that_name(books: Books, values: Body) -> Body | None:
    """The contact that a document means which names one without its id (second hand: number, else name)."""
    by_number = _holder(books, "ContactNumber", values.get("ContactNumber"))
    found = books.store.find(KIND, "name", (values.get("Name") or "").casefold())
    return by_number or (books.store.get(KIND, found[0]) if found else None)


def _active_of_that_name(books: Books, values: Body) -> Body | None:
    rule, name = books.dialect["name_match_on_post"], (values.get("Name") or "").casefold()
    if not name or rule == "refuse":
        return None
    for contact_id in books.store.find(KIND, "name", name):
        contact = books.store.get(KIND, contact_id) or {}
        numbers = {values.get("ContactNumber"), contact.get("ContactNumber")} - {None, ""}
        if rule == "match" or len(numbers) < 2:
            return contact
    return None


def _archived_of_that_name(books: Books, values: Body, create_only: bool) -> Body | None:
    name = (values.get("Name") or "").casefold()
    # recorded: archiving frees the name for a new contact; whether POST finds the archived one is a switch
    if (
        create_only
        or books.dialect["archived_name_on_post"] != "refuse"
        or books.store.find(KIND, "name", name)
    ):
        return None
    found = books.store.find(KIND, "archived_name", name)
    return books.store.get(KIND, found[0]) if found else None


def _exists(existing: Body, values: Body) -> str:
    """Why a PUT can't create this: what it has in common with a contact that is there."""
    if _key(values, "Name") == _key(existing, "Name"):
        return (
            ARCHIVED if existing["ContactStatus"] == READ_ONLY_STATUS else NAME_TAKEN.format(values["Name"])
        )
    return CONTACT_NUMBER_TAKEN if values.get("ContactNumber") else CONTACT_EXISTS


def _is_closed(existing: Body, values: Body, books: Books) -> bool:
    """recorded: an archived contact refuses every edit, archiving again too. Opening it again is a switch.

    A person can restore a contact on the web pages.
    """
    may_open = books.dialect["unarchive"] == "allow" or books.client is None
    opens = may_open and values.get("ContactStatus") == "ACTIVE"
    return existing["ContactStatus"] == READ_ONLY_STATUS and not opens


def _fresh() -> Body:
    return {"ContactID": str(uuid.uuid4()), "ContactStatus": "ACTIVE", "Phones": {}, "Addresses": {}}


def _applied(contact: Body, values: Body, dialect: Dialect) -> Body:
    """The contact with these values: what was not sent stays (recorded), "" clears."""
    result = {
        **contact,
        **{k: v for k, v in values.items() if k not in ("Phones", "Addresses", "ContactPersons")},
    }
    for name in ("Phones", "Addresses"):
        slots = dict(contact[name])
        for kind, given in values.get(name, {}).items():
            kept = slots.get(kind, {}) if dialect["slot_write"] == "merge" else {}
            slots[kind] = {k: v for k, v in {**kept, **given}.items() if v}
        result[name] = {kind: slot for kind, slot in slots.items() if slot}
    if "ContactPersons" in values:
        kept = contact.get("ContactPersons", []) if dialect["contact_persons_write"] == "append" else []
        result["ContactPersons"] = [*kept, *(one for one in values["ContactPersons"] if one not in kept)]
    return {name: value for name, value in result.items() if value != ""}


def _taken(books: Books, contact: Body, existing: Body | None) -> list[str]:
    """What another contact holds already. Name among the active, without case (recorded)."""
    before: Body = existing or {}
    errors: list[str] = []
    opened = before.get("ContactStatus") != contact["ContactStatus"]
    name = _key(contact, "Name")
    if contact["ContactStatus"] != READ_ONLY_STATUS and name and (opened or name != _key(before, "Name")):
        others = set(books.store.find(KIND, "name", name)) - {contact["ContactID"]}
        errors += [NAME_TAKEN.format(contact["Name"])] if others else []
    for field_name, message in (
        ("ContactNumber", CONTACT_NUMBER_TAKEN),
        ("AccountNumber", ACCOUNT_NUMBER_TAKEN),
    ):
        holder = _holder(books, field_name, contact.get(field_name))
        changed = contact.get(field_name) != before.get(field_name)
        if holder and changed and holder["ContactID"] != contact["ContactID"]:
            errors.append(message)
    return errors


def _save(books: Books, contact: Body, existing: Body | None) -> Body:
    same = existing is not None and _without_stamp(contact) == _without_stamp(existing)
    if existing is not None and same and books.dialect["unchanged_write"] == "keeps_stamp":
        return existing
    saved = put(books.store, {**contact, "Written": True, "UpdatedMs": books.clock.stamp_ms()})
    _remember(books, saved, existing)
    return saved


def _remember(books: Books, contact: Body, existing: Body | None) -> None:
    before = existing or {}
    names = (set(before) | set(contact)) - {"UpdatedMs", "Written"}
    fields = [name for name in names if before.get(name) != contact.get(name)] if existing else []
    what = "Edited" if existing else "Created"
    if existing and before["ContactStatus"] != contact["ContactStatus"]:
        what = "Archived" if contact["ContactStatus"] == READ_ONLY_STATUS else "Restored"
    history.write(
        books,
        contact["ContactID"],
        what,
        f"Contact {contact['Name']}.",
        at_ms=contact["UpdatedMs"],
        fields=fields,
    )


def _without_stamp(contact: Body) -> Body:
    return {name: value for name, value in contact.items() if name not in ("UpdatedMs", "Written")}


def put(store: Store, contact: Body) -> Body:
    live = contact["ContactStatus"] != READ_ONLY_STATUS
    store.put(KIND, contact["ContactID"], contact, stamp=contact["UpdatedMs"], live=live)
    return contact


def load(store: Store, clock: Clock, rows: Iterable[Body]) -> int:
    """Put contacts as they are (no rule, no mangling): rows in Xero's shape; what is missing is filled."""
    loaded = 0
    for row in rows:
        contact: Body = {**_fresh(), "UpdatedMs": clock.now_ms(), **shapes.stored(row)}
        put(store, {**contact, "ContactID": contact["ContactID"].lower()})
        loaded += 1
    return loaded


def merge(books: Books, loser_id: str, survivor_id: str) -> None:
    """What the web page's Merge does: the loser is archived and points to the survivor.

    unconfirmed: whose stamp moves, and whether the loser keeps its numbers. UpdatedDateUTC is no sign of it.
    """
    loser, survivor = books.store.get(KIND, loser_id), books.store.get(KIND, survivor_id)
    if loser is None or survivor is None or loser_id == survivor_id:
        raise UnknownContact(loser_id if loser is None else survivor_id)
    loser |= {"ContactStatus": READ_ONLY_STATUS, "MergedToContactID": survivor_id}
    for flag in ("IsCustomer", "IsSupplier"):
        survivor[flag] = survivor.get(flag, False) or loser.get(flag, False)
        loser[flag] = False
    if books.dialect["merged_number"] == "cleared":
        loser = {k: v for k, v in loser.items() if k not in ("ContactNumber", "AccountNumber")}
    moved = {"both": (loser, survivor), "loser": (loser,), "none": ()}[books.dialect["merge_stamps"]]
    for contact in moved:
        contact["UpdatedMs"] = books.clock.stamp_ms()
    put(books.store, loser)
    put(books.store, survivor)
    history.write(books, loser_id, "Merged", f"Merged into {survivor.get('Name', '')}.")
    history.write(books, survivor_id, "Merged", f"{loser.get('Name', '')} was merged into this contact.")


def set_facts(books: Books, contact_id: str, facts: Body) -> None:
    """Set what no API call can: IsCustomer, IsSupplier, Balances. The stamp stays (second hand)."""
    contact = books.store.get(KIND, contact_id)
    if contact is None:
        raise UnknownContact(contact_id)
    allowed = ("IsCustomer", "IsSupplier", "Balances", "Website", "Discount", "ContactGroups")
    put(books.store, {**contact, **{name: facts[name] for name in allowed if name in facts}})


def by_id_or_number(books: Books, text: str) -> Body | None:
    found = books.store.get(KIND, text.lower())
    if found is None:
        for contact_id in books.store.find(KIND, "ContactNumber", text.casefold()):
            return books.store.get(KIND, contact_id)
    return found
