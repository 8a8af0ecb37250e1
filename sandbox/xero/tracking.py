"""Keeps the tracking categories with their options, and says what a line of a document may name of them.

A stored category: TrackingCategoryID, Name, Status, Options (TrackingOptionID, Name, Status). A line holds the two
ids and the two names; a rename goes through the documents, for lines show the name of today.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from sandbox.store import Body, Store
from sandbox.xero import wire
from sandbox.xero.books import Books, Written
from sandbox.xero.wire import NO_ID, Refused

KIND, OPTION_KIND = "trackingcategory", "trackingoption"
DOCUMENTS = ("invoice", "creditnote", "overpayment", "prepayment")
LONGEST = 100  # spec
MOST_ACTIVE, MOST = 2, 4  # documented: two ACTIVE, four with the ARCHIVED ones
MOST_OF_A_LINE = 2  # spec
MOST_OPTIONS = 100  # documented: a soft limit that is recommended
STATUSES = ("ACTIVE", "ARCHIVED", "DELETED")

# second hand: reported of purchase orders (xero-php-oauth2#268)
UNKNOWN = "Unknown tracking details. A Tracking Category did not match a known Active TrackingCategory"
# unconfirmed: the wording of the rest
UNKNOWN_OPTION = "Unknown tracking details. A Tracking Option did not match a known Active TrackingOption"
TOO_MANY_ON_LINE = "A line item can have a maximum of 2 tracking categories"
TWICE_ON_LINE = "A line item cannot have the same tracking category twice"
NO_NAME = "The Name must be specified"
TOO_LONG = f"The length of Name must be {LONGEST} characters or fewer."
NAME_TAKEN = "The name {} is already in use. The name must be unique."
BAD_STATUS = "Status must be ACTIVE or ARCHIVED"
TOO_MANY_ACTIVE = "An organisation can have a maximum of two active tracking categories"
TOO_MANY = "An organisation can have a maximum of four tracking categories"
TOO_MANY_OPTIONS = "A tracking category can have a maximum of 100 tracking options"
IN_USE = "The {} cannot be deleted as it is used by a transaction"
IS_DELETED = "The {} has been deleted"
CATEGORY, OPTION = "tracking category", "tracking option"
NOT_AN_ID = "The JSON of the request is not valid: {} is not a Guid"


# -- categories


def category_of(store: Store, category_id: str) -> Body | None:
    return store.get(KIND, category_id.lower())


def write(books: Books, sent: Body, existing: Body | None) -> Written:
    """Make a category, rename it, archive it, make it active again; Status DELETED deletes it.

    Its options are not written with it (unconfirmed): they have calls of their own.
    """
    sent = _named(sent)
    if existing and sent.get("Status") == "DELETED":
        return delete(books, sent, existing)
    errors: list[str] = []
    none: list[Body] = []
    old = existing or {
        "TrackingCategoryID": str(uuid.uuid4()),
        "Name": "",
        "Status": "ACTIVE",
        "Options": none,
    }
    others = [one for one in _live(books.store) if one["TrackingCategoryID"] != old["TrackingCategoryID"]]
    category = {**old, **_name_and_status(sent, old, others, CATEGORY, errors)}
    active = [one for one in others if one["Status"] == "ACTIVE"]
    if category["Status"] == "ACTIVE" and len(active) >= MOST_ACTIVE:
        errors.append(TOO_MANY_ACTIVE)
    if len(others) >= MOST:
        errors.append(TOO_MANY)
    if errors:
        return Written(sent, None, existing["TrackingCategoryID"] if existing else None, errors)
    _put(books, category)
    if existing and existing["Name"] != category["Name"]:
        _rename(books.store, "TrackingCategoryID", category["TrackingCategoryID"], "Name", category["Name"])
    return Written(sent, category, category["TrackingCategoryID"])


def delete(books: Books, sent: Body, category: Body) -> Written:
    """spec: what is deleted stays to be read by its id. documented: what a document uses is archived instead."""
    status, errors = _after_delete(books, category, "TrackingCategoryID", CATEGORY)
    if errors:
        return Written(sent, None, category["TrackingCategoryID"], errors)
    none: list[Body] = []
    options = category["Options"] if status == "ARCHIVED" else none  # spec: a deleted one shows none
    category = _put(books, {**category, "Status": status, "Options": options})
    return Written(sent, category, category["TrackingCategoryID"])


# -- options


def write_option(books: Books, sent: Body, category: Body, existing: Body | None) -> Written:
    """Make an option of a category, rename it, archive it, make it active again."""
    sent = _named(sent)
    if existing and sent.get("Status") == "DELETED":
        return delete_option(books, sent, category, existing)
    errors: list[str] = [IS_DELETED.format(CATEGORY)] if category["Status"] == "DELETED" else []
    old = existing or {"TrackingOptionID": str(uuid.uuid4()), "Name": "", "Status": "ACTIVE"}
    options = [one for one in category["Options"] if one["Status"] != "DELETED"]
    others = [one for one in options if one["TrackingOptionID"] != old["TrackingOptionID"]]
    option = {**old, **_name_and_status(sent, old, others, OPTION, errors)}
    active = [one for one in others if one["Status"] == "ACTIVE"]
    limited = books.dialect["options_beyond_100"] == "refuse" and option["Status"] == "ACTIVE"
    if limited and len(active) >= MOST_OPTIONS:
        errors.append(TOO_MANY_OPTIONS)
    if errors:
        return Written(sent, None, existing["TrackingOptionID"] if existing else None, errors)
    _put_option(books, category, option)
    books.store.note("update" if existing else "create", OPTION_KIND, option["TrackingOptionID"])
    if existing and existing["Name"] != option["Name"]:
        _rename(books.store, "TrackingOptionID", option["TrackingOptionID"], "Option", option["Name"])
    return Written(sent, option, option["TrackingOptionID"])


def delete_option(books: Books, sent: Body, category: Body, option: Body) -> Written:
    status, errors = _after_delete(books, option, "TrackingOptionID", OPTION)
    if errors:
        return Written(sent, None, option["TrackingOptionID"], errors)
    option = {**option, "Status": status}
    _put_option(books, category, option)
    return Written(sent, option, option["TrackingOptionID"])


def option_of(category: Body, option_id: str) -> Body | None:
    return next((one for one in category["Options"] if one["TrackingOptionID"] == option_id.lower()), None)


def _put(books: Books, category: Body) -> Body:
    live = category["Status"] != "DELETED"
    books.store.put(KIND, category["TrackingCategoryID"], category, stamp=books.clock.stamp_ms(), live=live)
    return category


def _put_option(books: Books, category: Body, option: Body) -> None:
    kept = [
        option if one["TrackingOptionID"] == option["TrackingOptionID"] else one
        for one in category["Options"]
    ]
    _put(books, {**category, "Options": kept if option in kept else [*kept, option]})


# -- what both have in common


def _named(sent: Body) -> Body:
    """The fields with their names in Xero's case: the spec's own examples send `name`."""
    return {name[:1].upper() + name[1:]: value for name, value in sent.items()}


def _live(store: Store) -> list[Body]:
    return store.select(KIND, live_only=True)


def _name_and_status(sent: Body, old: Body, others: list[Body], what: str, errors: list[str]) -> Body:
    if old["Status"] == "DELETED":
        errors.append(IS_DELETED.format(what))
    name = str(sent["Name"]).strip() if sent.get("Name") is not None else old["Name"]
    if not name:
        errors.append(NO_NAME)
    if len(name) > LONGEST:  # second hand: of options since February 2025
        errors.append(TOO_LONG)
    if name.casefold() in (
        one["Name"].casefold() for one in others
    ):  # unconfirmed: that case is no difference
        errors.append(NAME_TAKEN.format(name))
    status = sent.get("Status") or old["Status"]
    if status not in STATUSES:
        errors.append(BAD_STATUS)
    return {"Name": name, "Status": status}


def _after_delete(books: Books, one: Body, id_name: str, what: str) -> tuple[str, list[str]]:
    """What a deleted one becomes, or why it stays."""
    if one["Status"] == "DELETED":
        return "", [IS_DELETED.format(what)]
    if not any(entry.get(id_name) == one[id_name] for _, _, entry in _entries(books.store)):
        return "DELETED", []
    if books.dialect["used_tracking_deleted"] == "refuse":
        return "", [IN_USE.format(what)]
    return "ARCHIVED", []


def _entries(store: Store) -> Iterator[tuple[str, str, Body]]:
    """(kind, id, entry) of every tracking on the lines of documents; what was deleted counts for nothing."""
    for kind in DOCUMENTS:
        for document_id, document in store.items(kind):
            if document.get("Status") == "DELETED":
                continue
            for line in document.get("LineItems") or []:
                yield from ((kind, document_id, entry) for entry in line.get("Tracking") or [])


def _rename(store: Store, id_name: str, one_id: str, field_name: str, name: str) -> None:
    """The new name in all documents; their stamps stay (unconfirmed)."""
    touched = {(kind, key) for kind, key, entry in _entries(store) if entry.get(id_name) == one_id}
    for kind, key in sorted(touched):
        document = store.get(kind, key) or {}
        for line in document["LineItems"]:
            for entry in line.get("Tracking") or []:
                if entry.get(id_name) == one_id:
                    entry[field_name] = name
        store.put(kind, key, document, stamp=document["UpdatedMs"], logged=False)


# -- on the lines of documents


def settled(books: Books, sent: Any, before: list[Body], errors: list[str]) -> list[Body]:
    """The tracking of a line: each entry with both ids and both names.

    before: what the line has already; that stays, archived or not. second hand: an entry without an option (or in
    another shape) is passed over without a word (xero-node#86); one object for the list is a 500 (xero-ruby#86).
    """
    if not isinstance(sent, list):
        raise Refused(wire.server_error())
    kept: list[Body] = []
    for one in sent:
        entry = _entry(books, one, before, errors) if isinstance(one, dict) else None
        if entry is not None:
            kept.append(entry)
    if len(kept) > MOST_OF_A_LINE:
        errors.append(TOO_MANY_ON_LINE)
    elif len({one.get("TrackingCategoryID") for one in kept}) < len(kept):
        errors.append(TWICE_ON_LINE)
    return kept


def _entry(books: Books, sent: Body, before: list[Body], errors: list[str]) -> Body | None:
    category_id, option_id = _guid(sent, "TrackingCategoryID"), _guid(sent, "TrackingOptionID")
    name, option_name = str(sent.get("Name") or "").strip(), str(sent.get("Option") or "").strip()
    if not (category_id or name) or not (option_id or option_name):
        return None
    for one in before:
        same = (
            one.get("TrackingCategoryID") == category_id if category_id else _same(one.get("Name", ""), name)
        )
        option_is_same = (
            one.get("TrackingOptionID") == option_id
            if option_id
            else _same(one.get("Option", ""), option_name)
        )
        if same and option_is_same:
            return one
    category = _by_id_or_name(_live(books.store), "TrackingCategoryID", category_id, name)
    rule = books.dialect["unknown_tracking"]
    if category is None and rule == "make" and not category_id:
        made = write(books, {"Name": name}, None)
        errors += made.errors
        category = made.record
    options = category["Options"] if category else []
    option = _by_id_or_name(options, "TrackingOptionID", option_id, option_name)
    if category and option is None and rule == "make" and not option_id:
        made = write_option(books, {"Name": option_name}, category, None)
        errors += made.errors
        option = made.record
    if category is None or option is None:
        errors += [] if rule == "ignore" else [UNKNOWN_OPTION if category else UNKNOWN]
        return None
    return {
        "Name": category["Name"],
        "Option": option["Name"],
        "TrackingCategoryID": category["TrackingCategoryID"],
        "TrackingOptionID": option["TrackingOptionID"],
    }


def _guid(sent: Body, name: str) -> str | None:
    """second hand: what is no Guid makes the body invalid, ErrorNumber 14 (xero-php-oauth2#228)."""
    text = sent.get(name)
    if not text or text == NO_ID:
        return None
    try:
        return str(uuid.UUID(str(text)))
    except ValueError:
        raise Refused(wire.refusal(14, "PostDataInvalidException", NOT_AN_ID.format(name))) from None


def _by_id_or_name(rows: list[Body], id_name: str, one_id: str | None, name: str) -> Body | None:
    """An active one by its id, else by its name."""
    for one in rows:
        if one["Status"] == "ACTIVE" and (one[id_name] == one_id if one_id else _same(one["Name"], name)):
            return one
    return None


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


# -- of contacts


def of_contact(books: Books, sent: Body, errors: list[str]) -> Body:
    """The defaults of a contact that were sent, for sales and for purchases; second hand: both texts.

    Each: a list of {TrackingCategoryName, TrackingOptionName} (xero-php#386).
    """
    values: Body = {}
    for side in ("Sales", "Purchases"):
        given = sent.get(f"{side}TrackingCategories")
        if not isinstance(given, list):
            continue
        values[f"{side}TrackingCategories"] = [
            entry for one in given if isinstance(one, dict) and (entry := _default(books, one, side, errors))
        ]
    return values


def _default(books: Books, sent: Body, side: str, errors: list[str]) -> Body | None:
    name, option_name = (str(sent.get(f"Tracking{what}Name") or "") for what in ("Category", "Option"))
    category = _by_id_or_name(_live(books.store), "TrackingCategoryID", None, name)
    option = _by_id_or_name(category["Options"] if category else [], "TrackingOptionID", None, option_name)
    if category is None:
        errors.append(f"There is no ACTIVE tracking category with the name '{name}'")
        errors += [] if name else [f"{side}Category is missing a TrackingCategoryName"]
        return None
    if option is None:
        errors.append(
            f"There is no ACTIVE tracking option with the name '{option_name}'"
        )  # unconfirmed: wording
        return None
    return {"TrackingCategoryName": category["Name"], "TrackingOptionName": option["Name"]}
