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
    # -- invoices: who is meant, what may be done
    _switch(
        "invoice_number_case",
        ("insensitive", "sensitive"),
        "comparison of the InvoiceNumbers of sales invoices",
    ),
    _switch(
        "number_of_closed",
        ("taken", "freed_by_delete", "freed"),
        "whether a DELETED or VOIDED sales invoice still holds its number: both do; the deleted don't; neither does",
    ),
    _switch(
        "put_existing_number",
        ("refuse", "updates"),
        "PUT with the number of a sales invoice: refused; edits that invoice, as recorded of purchase orders",
        "second hand",
    ),
    _switch("number_taken_wording", ("spec", "other"), "the words for a number that is taken"),
    _switch("submitted_to_draft", ("allow", "refuse"), "the move from SUBMITTED back to DRAFT"),
    _switch(
        "authorised_edits", ("all", "none"), "edits of an AUTHORISED invoice without payments", "second hand"
    ),
    _switch(
        "paid_edits",
        ("some", "none"),
        "edits of an invoice with payments: number, reference, due date, contact, URL, a line's text and account; none",
        "second hand",
    ),
    _switch(
        "due_date_missing",
        ("refuse", "date"),
        "approval without a due date, where no payment terms give one: refused; due on its date",
    ),
    _switch(
        "unknown_contact_in_invoice",
        ("not_found", "error"),
        "an invoice for a ContactID that there is not: 404 for the whole; a validation error",
        "second hand",
    ),
    _switch("archived_contact_in_invoice", ("refuse", "accept"), "an invoice for an archived contact"),
    _switch(
        "contact_in_invoice",
        ("updates", "ignored"),
        "fields beside ContactID in an invoice's Contact: change the contact, and persons not named go; nothing",
        "second hand",
    ),
    _switch(
        "lines_not_sent",
        ("kept", "remade"),
        "an edit without LineItems: the lines stay; are made anew with new ids (and two places without unitdp=4)",
        "second hand",
    ),
    _switch(
        "line_amount_mismatch",
        ("refuse", "ignore"),
        "a LineAmount that quantity, price and discount don't give: refused; passed over",
    ),
    _switch(
        "rounding_ties",
        ("half_up", "half_even"),
        "a half of the last place: away from zero; to the even digit",
    ),
    _switch(
        "total_tax",
        ("by_line", "on_total"),
        "tax rounded line by line and summed; or rounded once for each rate",
        "second hand",
    ),
    _switch("price_places", ("round", "cut"), "places of a price beyond two (or four): rounded; cut off"),
    # -- credit notes, overpayments, prepayments
    _switch(
        "credit_number_on_post",
        ("updates", "refuse"),
        "POST with the number of a sales credit note and without its id: edits that one; a number that is taken",
    ),
    _switch(
        "approved_credit_note_edits",
        ("all", "some"),
        "edits of an AUTHORISED credit note of which nothing is used; only its dates and reference",
    ),
    _switch(
        "allocation_without_date",
        ("today", "refuse"),
        "an allocation without Date, though the spec asks for it: today's; refused",
    ),
    _switch(
        "early_allocation",
        ("accept", "refuse"),
        "an allocation dated before its invoice or its credit",
    ),
    _switch(
        "allocation_id_in_reply",
        ("absent", "present"),
        "AllocationID in the reply to an allocation (a read of the credit has it)",
    ),
    _switch(
        "removed_allocation",
        ("envelope", "bare"),
        "the reply to the removal of an allocation: in an envelope, so that xero-python, which looks for it outside, "
        "can't read it; alone, as the spec's example",
        "second hand",
    ),
    # -- settings that documents name
    _switch(
        "unknown_tracking",
        ("refuse", "ignore", "make"),
        "a line that names a tracking category or option that there is not, or is archived: refused; the line has "
        "none; what is named by name is made",
        "second hand",
    ),
    _switch(
        "used_tracking_deleted",
        ("archive", "refuse"),
        "deletion of a tracking category or option that a document uses: it is archived; refused",
        "second hand",
    ),
    _switch(
        "options_beyond_100",
        ("accept", "refuse"),
        "more than the 100 active options of a tracking category that Xero recommends",
    ),
    _switch(
        "default_theme",
        ("shown", "absent"),
        "BrandingThemeID of a sale that was made without one: the default theme; none",
    ),
    _switch(
        "locked_drafts",
        ("refuse", "accept"),
        "a DRAFT or SUBMITTED document dated in a locked period: refused as an approved one is; accepted",
    ),
    _switch(
        "item_details_not_sent",
        ("kept", "lost"),
        "what a write leaves out of an item's SalesDetails or PurchaseDetails: stays; is emptied",
    ),
    _switch(
        "used_item_deleted",
        ("refuse", "accept"),
        "deletion of an item that a line of a document names",
        "second hand",
    ),
    _switch(
        "group_moves_stamp",
        (False, True),
        "whether to enter or leave a group moves the contact's UpdatedDateUTC",
    ),
    _switch(
        "group_left_again",
        ("not_found", "no_content", "refuse"),
        "removal of a contact that is not in the group: 404; 204; a validation error",
    ),
    # -- invoices: what is shown
    _switch(
        "deleted_invoices",
        ("listed", "hidden"),
        "DELETED invoices in a list that names no status",
        "second hand",
    ),
    _switch("reference_filter", ("accept", "refuse"), "Reference in the where of invoices and payments"),
    _switch(
        "summary_only",
        ("pages", "whole"),
        "summaryOnly without page: the first page; everything",
        "second hand",
    ),
    _switch("payment_moves_stamp", (True, False), "whether a payment moves the invoice's UpdatedDateUTC"),
    # -- payments
    _switch(
        "unknown_document_in_payment",
        ("not_found", "error"),
        "a payment for an InvoiceID that there is not: 404 for the whole; a validation error",
    ),
    _switch("payment_date_missing", ("today", "refuse"), "a payment without Date: of today; refused"),
    _switch(
        "reconciled_payment_delete",
        ("refuse", "allow"),
        "deleting a payment (or batch) that is reconciled: refused; done",
        "second hand",
    ),
    _switch(
        "batch_payment_delete",
        ("allow", "refuse"),
        "deleting a batch of payments by Status DELETED: done, as one place of the spec says; refused, as another",
    ),
    _switch(
        "batch_in_payment",
        ("typed", "texts"),
        "TotalAmount and IsReconciled of the batch within a payment: number and boolean, as the spec's schema says; "
        "texts, as its examples do (xero-python can't read them)",
    ),
    _switch(
        "deleted_payments", ("listed", "hidden"), "DELETED payments in a list that does not ask for Status"
    ),
    # -- history
    _switch("history_of_api_writes", (True, False), "whether what an app wrote stands in the History"),
    _switch(
        "history_user_of_api",
        ("app", "system"),
        "User in the History of what an app wrote: the app's name; System Generated",
    ),
    _switch(
        "history_details", ("plain", "fields"), "Details of an edit: no more than what; the fields by name"
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
    _switch(
        "merged_invoices",
        ("silent", "stamped"),
        "invoices of the merged contact go to the other one: their UpdatedDateUTC stays; moves",
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
