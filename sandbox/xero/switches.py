"""The behaviours of Xero that nobody could confirm, each with the values it may plausibly have."""

from __future__ import annotations

from sandbox.dialect import Evidence, Switch, Value


def _switch(name: str, values: tuple[Value, ...], about: str, evidence: Evidence = "unconfirmed") -> Switch:
    """A switch whose first value is the default."""
    return Switch(name, values, values[0], evidence, about)


SWITCHES = (
    # -- who is meant by a POST without ContactID
    _switch(
        "name_match_on_post",
        ("match", "match_unless_number", "refuse"),
        "POST with the Name of an active contact: updates it; does so only where the two ContactNumbers "
        "don't differ; is a duplicate name",
    ),
    _switch(
        "archived_name_on_post",
        ("new", "refuse"),
        "POST with the Name of an archived contact: makes a new one; 'matched an archived contact'",
    ),
    _switch("number_case", ("insensitive", "sensitive"), "comparison of ContactNumber and AccountNumber"),
    _switch(
        "numbers_of_archived",
        ("taken", "freed"),
        "whether an archived contact still holds its ContactNumber and AccountNumber",
    ),
    _switch("unarchive", ("refuse", "allow"), "ContactStatus ACTIVE for an archived contact"),
    # -- what a write leaves
    _switch("slot_write", ("merge", "replace"), "keys left out of a sent phone or address: kept; cleared"),
    _switch("null_on_write", ("keep", "clear"), "a field sent as null: as if it were absent; cleared"),
    _switch(
        "contact_persons_write",
        ("replace", "append"),
        "sent ContactPersons: the others are removed; stay",
        "second hand",
    ),
    _switch(
        "unchanged_write",
        ("moves_stamp", "keeps_stamp"),
        "whether UpdatedDateUTC moves on a write that changes nothing",
    ),
    _switch("stamps", ("natural", "distinct"), "whether two writes may carry the same millisecond"),
    # -- mangling
    _switch(
        "name_whitespace",
        ("tidy", "trim", "refuse"),
        "leading, trailing, repeated spaces in Name: trimmed and folded; only trimmed; a validation error",
        "second hand",
    ),
    _switch("angle_brackets_in_name", ("refuse", "keep"), "< or > in Name", "second hand"),
    _switch("text_whitespace", ("trim", "tidy", "keep"), "outer and repeated spaces in all other texts"),
    _switch("too_long", ("refuse", "truncate"), "a text longer than the spec says"),
    _switch(
        "phone_format",
        ("keep", "squeeze", "split"),
        "PhoneNumber: as given; without spaces; +CC AREA NUMBER is taken apart into its three fields",
    ),
    _switch(
        "country",
        ("strip", "refuse", "keep"),
        "what is neither letter nor space in Country (the spec: [A-Z], [a-z] only)",
    ),
    _switch("email_case", ("keep", "lower"), "case of EmailAddress"),
    _switch(
        "email_invalid", ("refuse", "keep"), "EmailAddress without @, with spaces or beyond ASCII (umlauts)"
    ),
    # -- batches and errors
    _switch("failed_batch", ("saves_nothing", "saves_good"), "a batch that answers 400 as a whole"),
    _switch("error_elements", ("failed", "all"), "which elements a 400 lists"),
    _switch("cache_500", (True, False), "whether a 500 is kept under its Idempotency-Key", "second hand"),
    # -- reading
    _switch(
        "if_modified_since",
        ("inclusive", "exclusive", "exclusive_second"),
        "a record stamped exactly then is sent; is not; nor any of that second",
    ),
    _switch("page_size", ("honoured", "ignored"), "pageSize; ignored: always 100"),
    _switch("page_size_over_1000", ("clamp", "refuse"), "pageSize above the largest"),
    _switch("default_order", ("insertion", "updated", "name"), "order of a list that asks for none"),
    _switch(
        "blanks_in_reads",
        ("as_recorded", "absent", "empty"),
        "blank phones and addresses in reads: absent until the API wrote the contact, then empty; "
        "ever absent; ever empty",
    ),
    _switch("unpaged_details", ("absent", "present"), "defaults, terms, persons in a list read without page"),
    _switch("ids_show_archived", (True, False), "IDs= gives archived contacts without includeArchived too"),
    _switch("single_equals", ("accept", "refuse"), "= for == in where"),
    _switch(
        "tax_number_type",
        ("plain", "prefixed"),
        "TaxNumberType as SSN or as TAXNUMBERTYPE/SSN",
        "second hand",
    ),
    # -- merging, as the web page does it
    _switch(
        "merged_contacts",
        ("archived", "hidden"),
        "a merged contact: listed with the archived; only read by id or number",
    ),
    _switch("merge_stamps", ("both", "loser", "none"), "whose UpdatedDateUTC a merge moves"),
    _switch(
        "merged_number",
        ("kept", "cleared"),
        "whether the merged contact keeps ContactNumber and AccountNumber",
    ),
    # -- limits and login
    _switch("day_limit", (5000, 1000), "calls a day: Core and above; Starter", "second hand"),
    _switch("minute_window", ("fixed", "rolling"), "how the calls of a minute are counted", "second hand"),
    _switch(
        "concurrent_problem",
        ("concurrent", "Concurrent"),
        "X-Rate-Limit-Problem when six requests run at once",
    ),
    _switch(
        "empty_tenant", ("accept", "refuse"), "an empty or absent xero-tenant-id from a custom connection"
    ),
)
