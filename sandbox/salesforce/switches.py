"""The behaviours of Salesforce that may be otherwise than we think, each with its plausible values."""

from __future__ import annotations

from sandbox.dialect import Switch

SWITCHES = (
    Switch("stamp_resolution", ("second", "millisecond"), "second", "second hand",
           "SystemModstamp and its like: whole seconds, so that two writes may carry the same stamp"),
    Switch("late_commit_s", (0, 45, 540), 0, "recorded",
           "a write is stamped this long before it can be seen, as in a long transaction (airbyte 27146)"),
    Switch("trims", (True, False), True, "recorded",
           "white space around a text is cut off (Salesforce's page on diff fields of change events)"),
    Switch("newlines", ("page", "as_sent", "crlf", "lf"), "page", "recorded",
           "line breaks: page = CRLF in what a person writes, as sent by the API; crlf, lf = always so"),
    Switch("phone_format", ("as_sent", "page", "always"), "as_sent", "unconfirmed",
           "ten digits become (555) 123-4567: never, in what a person writes, or always"),
    Switch("email_case", ("kept", "lower"), "kept", "unconfirmed",
           "an e-mail address keeps its case or loses it"),
    Switch("trigger", ("off", "other_field", "mapped_field"), "off", "second hand",
           "automation after a write: fills Description; or copies Phone into a blank Fax and upper-cases "
           "the postal code (Account), capitalises LastName (Contact)"),
    Switch("upsert_update_status", (200, 204), 200, "unconfirmed",
           "upsert by external id that updated: 200 with a body, or 204 without"),
    Switch("upsert_body_key", ("refused", "accepted"), "refused", "unconfirmed",
           "the external id once more in the body of a row's upsert"),
    Switch("collection_unknown_field", ("whole", "row"), "whole", "unconfirmed",
           "an unknown field in one row of a collection refuses the whole request, or that row"),
    Switch("read_deleted_row", ("ENTITY_IS_DELETED", "NOT_FOUND"), "ENTITY_IS_DELETED", "unconfirmed",
           "GET of a row in the recycle bin"),
    Switch("page", ("full", "fewer"), "full", "recorded",
           "a page of a query holds what was asked for, or 500 rows at most (no guarantee, the docs say)"),
    Switch("limit_info", ("plain", "bursts", "per_app"), "plain", "recorded",
           "what else Sforce-Limit-Info holds besides api-usage"),
    Switch("merge_stamps_children", (True, False), True, "unconfirmed",
           "a merge moves SystemModstamp of the children that it gives to the survivor"),
    Switch("case_sensitive_external_id", (False, True), False, "second hand",
           "whether an upsert tells external ids apart by case"),
)  # fmt: skip
