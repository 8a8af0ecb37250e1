"""Keeps the contact groups and who is in them. A contact holds the groups that it is in."""

from __future__ import annotations

import uuid

from sandbox.store import Body, Store
from sandbox.xero import contacts
from sandbox.xero.books import Books, Written

KIND = "contactgroup"
MOST = 100  # spec

TOO_MANY = f"You’ve reached the limit of {MOST} contact groups."  # spec
# unconfirmed: the wording of the rest, and that a name is unique, without case
NO_NAME = "The contact group name must be specified."
NAME_TAKEN = "The contact group name {} is already in use."
BAD_STATUS = "Status must be ACTIVE or DELETED"
NO_CONTACT = "The contact could not be found"
NOT_IN_IT = "The contact is not in the contact group"


def write(books: Books, sent: Body, existing: Body | None) -> Written:
    """Make a group, rename it, or delete it (spec: by Status DELETED; a deleted one is not read any more)."""
    errors: list[str] = []
    group = existing or {"ContactGroupID": str(uuid.uuid4()), "Name": "", "Status": "ACTIVE"}
    group_id = group["ContactGroupID"]
    others = [one for one in books.store.all(KIND) if one["ContactGroupID"] != group_id]
    name = str(sent["Name"]).strip() if sent.get("Name") is not None else group["Name"]
    if not name:
        errors.append(NO_NAME)
    if name.casefold() in (one["Name"].casefold() for one in others):
        errors.append(NAME_TAKEN.format(name))
    if existing is None and len(others) >= MOST:
        errors.append(TOO_MANY)
    status = sent.get("Status") or "ACTIVE"
    if status not in ("ACTIVE", "DELETED"):
        errors.append(BAD_STATUS)
    if errors:
        return Written(sent, None, group_id if existing else None, errors)
    renamed, group = name != group["Name"], {**group, "Name": name, "Status": status}
    if status == "DELETED":
        empty(books, group_id)
        books.store.delete(KIND, group_id)
        return Written(sent, group, group_id)
    books.store.put(KIND, group_id, group)
    for contact in members(books.store, group_id) if existing and renamed else ():
        _put(
            books,
            contact,
            [group if _is(one, group_id) else one for one in contact["ContactGroups"]],
            logged=False,
        )
    return Written(sent, group, group_id)


def members(store: Store, group_id: str) -> list[Body]:
    return [
        contact
        for contact in store.all(contacts.KIND)
        if any(_is(one, group_id) for one in contact.get("ContactGroups", []))
    ]


def add(books: Books, group: Body, sent: Body) -> Written:
    """Put a contact into a group, by its ContactID; once is enough."""
    contact = books.store.get(contacts.KIND, str(sent.get("ContactID") or "").lower())
    if contact is None:
        return Written(sent, None, None, [NO_CONTACT])
    if contact["ContactStatus"] == contacts.READ_ONLY_STATUS:
        return Written(sent, None, contact["ContactID"], [contacts.ARCHIVED])
    groups = [one for one in contact.get("ContactGroups", []) if not _is(one, group["ContactGroupID"])]
    return Written(sent, _put(books, contact, [*groups, group]), contact["ContactID"])


def remove(books: Books, group_id: str, contact_id: str) -> bool:
    """Whether the contact was in the group."""
    contact = books.store.get(contacts.KIND, contact_id.lower())
    groups = (contact or {}).get("ContactGroups", [])
    kept = [one for one in groups if not _is(one, group_id)]
    if contact is None or len(kept) == len(groups):
        return False
    _put(books, contact, kept)
    return True


def empty(books: Books, group_id: str) -> None:
    for contact in members(books.store, group_id):
        remove(books, group_id, contact["ContactID"])


def _put(books: Books, contact: Body, groups: list[Body], *, logged: bool = True) -> Body:
    """unconfirmed: whether that moves the contact's stamp."""
    contact = {**contact, "ContactGroups": groups}
    if books.dialect["group_moves_stamp"] and logged:
        contact["UpdatedMs"] = books.clock.stamp_ms()
    return contacts.put(books.store, contact)


def _is(group: Body, group_id: str) -> bool:
    return group["ContactGroupID"] == group_id
