"""Reads the mapping's section `documents`: which opportunities become invoices, and of what form."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Final

from reconcile import reading
from reconcile.errors import WrongMapping
from reconcile.mapped import (
    SOURCE_OBJECTS,
    BillMapping,
    DocumentLink,
    DocumentMapping,
    Instalments,
    Numbering,
    PartOf,
    Rule,
    Together,
    Track,
    is_field,
)
from reconcile.mapping_bills import read_bills
from reconcile.mapping_codes import CODES_KEYS, read_currencies, read_line_codes
from reconcile.mapping_payments import read_payments
from reconcile.marked import Marked, describe

DOCUMENTS: Final = ("invoice", "bill")
DOCUMENT_KEYS: Final = (
    "salesforce", "xero", "date", "cut_over", "status", "number", "due", "reference", "amount",
    "line_amounts", "lines", "currency", "link", "branding", "tracking", "options", "locked", "changes", "withdraw",
    "credits", "settled", "payments", "also", "instalments", "together",
)  # fmt: skip
# What another object whose records become invoices, too, may have otherwise.
ALSO_KEYS: Final = (
    "salesforce", "date", "status", "reference", "amount", "lines", "tracking", "instalments", "together",
)  # fmt: skip
FORMS: Final = ("instalments", "together")
INSTALMENTS_KEYS: Final = ("when", "parts")
PART_KEYS: Final = ("name", "share", "days", "months")
TOGETHER_KEYS: Final = ("when",)
MOST_PARTS: Final = 9
SHARE_DECIMALS: Final = 4
HUNDRED: Final = Decimal(100)
HEADER_KEYS: Final = ("object", "lines", "scope", "stages")
STATUS_KEYS: Final = ("when", "then")
NUMBER_KEYS: Final = ("kind", "prefix", "digits")
LINES_KEYS: Final = ("account", "tax", "items", "tracking", *CODES_KEYS)
DUE_KEYS: Final = ("days", "terms")
LINK_KEYS: Final = ("id", "number", "status", "url")
MADE_AS: Final = ("DRAFT", "SUBMITTED", "AUTHORISED")
NUMBERED: Final = ("derived", "reserved", "xero")
AMOUNT: Final = ("subtotal", "total", "ignore")
LINE_AMOUNTS: Final = ("exclusive", "inclusive", "no_tax")
LOCKED: Final = ("stop", "move")
SETTLED: Final = ("off", "read", "shown")
ITEMS: Final = ("known", "on_demand", "never")
OPTIONS: Final = ("known", "on_demand")
MOST_TRACKED: Final = 2  # categories, of a line and of an organisation
CHANGES: Final = ("report", "move")
WITHDRAW: Final = ("ask", "void")
CREDITS: Final = ("told", "draft")


def read_documents(tree: Marked) -> dict[str, DocumentMapping]:
    """Give name -> how that document is made. Raises WrongMapping, which names file and line."""
    named = reading.known_keys(tree, "documents", DOCUMENTS)
    return {
        name: _with_others(marked, f"documents.{name}") for name, marked in named.items() if name != "bill"
    }


def read_bill(tree: Marked) -> BillMapping | None:
    """Give how bills are made; null where the mapping says nothing of it. Raises as `read_documents`."""
    return read_bills(reading.known_keys(tree, "documents", DOCUMENTS).get("bill"), "documents.bill")


def _with_others(tree: Marked, path: str) -> DocumentMapping:
    """Read how a document is made, with each other object of which it is made, too."""
    keys = reading.known_keys(tree, path, DOCUMENT_KEYS)
    own = _document(keys, tree, path)
    shared = {key: value for key, value in keys.items() if key not in ("also", "payments", *FORMS)}
    others: dict[str, DocumentMapping] = {}
    for name, marked in reading.named(keys, "also", path):
        at = f"{path}.also.{name}"
        other = _document({**shared, **reading.known_keys(marked, at, ALSO_KEYS)}, marked, at)
        if other.salesforce in (own.salesforce, *others):
            raise WrongMapping(
                at=reading.place(marked, at),
                found=f"{other.salesforce} twice",
                expected=f"another object: {', '.join(SOURCE_OBJECTS)}",
            )
        others[other.salesforce] = replace(other, is_one_of_several=True)
    return replace(own, also=tuple(others.values()), is_one_of_several=bool(others))


def _document(keys: MappingOf[str, Marked], tree: Marked, path: str) -> DocumentMapping:
    header = _part(keys, "salesforce", tree, path, HEADER_KEYS)
    lines = _part(keys, "lines", tree, path, LINES_KEYS)
    target = _part(keys, "xero", tree, path, ("object",))
    stages = header.get("stages")
    source = reading.choice(
        reading.needed(header, "object", keys["salesforce"], f"{path}.salesforce"),
        f"{path}.salesforce.object",
        tuple(SOURCE_OBJECTS),
        None,
    )
    document = DocumentMapping(
        salesforce=source,
        lines=reading.choice(
            header.get("lines"), f"{path}.salesforce.lines", (SOURCE_OBJECTS[source].lines,), None
        ),
        scope=reading.rule(header.get("scope"), f"{path}.salesforce.scope"),
        stages=None if stages is None else _stages(stages, f"{path}.salesforce.stages"),
        xero=reading.choice(target.get("object"), f"{path}.xero.object", ("Invoice",), None),
        date=reading.field_name(reading.needed(keys, "date", tree, path), f"{path}.date"),
        cut_over=reading.day(keys["cut_over"], f"{path}.cut_over") if "cut_over" in keys else None,
        status=_status(keys.get("status"), f"{path}.status"),
        number=_numbering(keys, tree, path),
        due_days=_due(keys.get("due"), f"{path}.due"),
        by_terms=_by_terms(keys.get("due"), f"{path}.due"),
        branding=_code(keys.get("branding"), f"{path}.branding") or None,
        tracking=(
            *_tracking(keys, path, of_line=False),
            *_tracking(lines, f"{path}.lines", of_line=True),
        ),
        reference=_optional_field(keys.get("reference"), f"{path}.reference"),
        amount=reading.choice(keys.get("amount"), f"{path}.amount", AMOUNT, "subtotal"),
        line_amounts=reading.choice(
            keys.get("line_amounts"), f"{path}.line_amounts", LINE_AMOUNTS, "exclusive"
        ),
        account=_code(lines.get("account"), f"{path}.lines.account"),
        tax=_code(lines.get("tax"), f"{path}.lines.tax"),
        options=reading.choice(keys.get("options"), f"{path}.options", OPTIONS, "known"),
        items=reading.choice(lines.get("items"), f"{path}.lines.items", ITEMS, "known"),
        link=_link(keys, tree, path),
        locked=reading.choice(keys.get("locked"), f"{path}.locked", LOCKED, "stop"),
        changes=reading.choice(keys.get("changes"), f"{path}.changes", CHANGES, "report"),
        withdraw=reading.choice(keys.get("withdraw"), f"{path}.withdraw", WITHDRAW, "ask"),
        credits=reading.choice(keys.get("credits"), f"{path}.credits", CREDITS, "told"),
        settled=reading.choice(keys.get("settled"), f"{path}.settled", SETTLED, "off"),
        at=f"{tree.key_at or tree.at}: {path}",
        path=path,
        instalments=_instalments(keys.get("instalments"), f"{path}.instalments"),
        together=_together(keys.get("together"), f"{path}.together"),
        codes=read_line_codes(
            lines,
            f"{path}.lines",
            header=_object(header, "object", keys["salesforce"], f"{path}.salesforce"),
            lines=_object(header, "lines", keys["salesforce"], f"{path}.salesforce"),
        ),
        currencies=read_currencies(keys.get("currency"), f"{path}.currency"),
        payments=read_payments(
            keys.get("payments"),
            f"{path}.payments",
            invoiced=source,
            settled=reading.choice(keys.get("settled"), f"{path}.settled", SETTLED, "off"),
        ),
    )
    _check(document, keys, path)
    return document


def _part(
    keys: MappingOf[str, Marked], key: str, tree: Marked, path: str, known: tuple[str, ...]
) -> dict[str, Marked]:
    return reading.known_keys(reading.needed(keys, key, tree, path), f"{path}.{key}", known)


def _object(keys: MappingOf[str, Marked], key: str, tree: Marked, path: str) -> str:
    return reading.field_name(reading.needed(keys, key, tree, path), f"{path}.{key}")


def _stages(tree: Marked, path: str) -> tuple[str, ...]:
    return tuple(reading.text_of(item, path) for item in reading.texts(tree, path))


def _status(tree: Marked | None, path: str) -> tuple[tuple[Rule | None, str], ...]:
    """Read one status, or rules of which the first that holds decides; the last one stands without `when`."""
    if tree is None or not isinstance(tree.value, tuple):
        return ((None, reading.choice(tree, path, MADE_AS, "DRAFT")),)
    cases: list[tuple[Rule | None, str]] = []
    for item in tree.value:
        case = reading.known_keys(item, path, STATUS_KEYS)
        then = reading.choice(reading.needed(case, "then", item, path), f"{path}.then", MADE_AS, None)
        cases.append((reading.rule(case.get("when"), f"{path}.when"), then))
    bare = [place for place, (when, _) in enumerate(cases) if when is None]
    if bare != [len(cases) - 1]:
        raise WrongMapping(
            at=reading.place(tree, path),
            found="rules of which not only the last stands without `when`" if bare else "rules alone",
            expected="rules, and at their end `{then: DRAFT}` for all else",
        )
    return tuple(cases)


def _numbering(keys: MappingOf[str, Marked], tree: Marked, path: str) -> Numbering:
    found = _part(keys, "number", tree, path, NUMBER_KEYS)
    path = f"{path}.number"
    prefix = found.get("prefix")
    text = reading.prefix(prefix, f"{path}.prefix")
    kind = reading.choice(found.get("kind"), f"{path}.kind", NUMBERED, "derived")
    if kind == "reserved" and text[-1:].isdigit():
        raise WrongMapping(
            at=reading.place(prefix, f"{path}.prefix"),
            found=repr(text),
            expected="a prefix that does not end in a digit: a number follows it",
        )
    return Numbering(kind, text, reading.whole(found.get("digits"), f"{path}.digits", 1, 12, 5))


def _due(tree: Marked | None, path: str) -> int | None:
    if tree is None:
        return None
    keys = reading.known_keys(tree, path, DUE_KEYS)
    if "days" not in keys and "terms" in keys:
        return None
    return reading.whole(reading.needed(keys, "days", tree, path), f"{path}.days", 0, 366, 0)


def _by_terms(tree: Marked | None, path: str) -> bool:
    terms = None if tree is None else reading.known_keys(tree, path, DUE_KEYS).get("terms")
    return terms is not None and reading.choice(terms, f"{path}.terms", ("contact",), None) == "contact"


def _instalments(tree: Marked | None, path: str) -> Instalments | None:
    if tree is None:
        return None
    keys = reading.known_keys(tree, path, INSTALMENTS_KEYS)
    listed = reading.needed(keys, "parts", tree, path)
    if not isinstance(listed.value, tuple) or not 2 <= len(listed.value) <= MOST_PARTS:
        raise WrongMapping(
            at=reading.place(listed, f"{path}.parts"),
            found=describe(listed) if not isinstance(listed.value, tuple) else f"{len(listed.value)} parts",
            expected=f"a list of 2 to {MOST_PARTS} parts, each with a `name`, all but the last with a `share`",
        )
    last = len(listed.value) - 1
    parts = tuple(_part_of(one, f"{path}.parts", is_last=n == last) for n, one in enumerate(listed.value))
    shared = sum(((one.share or Decimal(0)) for one in parts), Decimal(0))
    if shared >= HUNDRED:
        raise WrongMapping(
            at=reading.place(listed, f"{path}.parts"),
            found=f"shares of {shared} percent before the last part",
            expected="less than 100: the last part is what is left",
        )
    return Instalments(reading.rule(keys.get("when"), f"{path}.when"), parts)


def _part_of(tree: Marked, path: str, *, is_last: bool) -> PartOf:
    keys = reading.known_keys(tree, path, PART_KEYS)
    if is_last and "share" in keys:
        raise WrongMapping(
            at=reading.place(keys["share"], f"{path}.share"),
            found="a share of the last part",
            expected="none: the last part is what is left",
        )
    return PartOf(
        name=reading.text_of(reading.needed(keys, "name", tree, path), f"{path}.name").strip(),
        share=None if is_last else _share(reading.needed(keys, "share", tree, path), f"{path}.share"),
        days=reading.whole(keys.get("days"), f"{path}.days", 0, 366, 0),
        months=reading.whole(keys.get("months"), f"{path}.months", 0, 60, 0),
    )


def _share(tree: Marked, path: str) -> Decimal:
    try:
        share = Decimal(str(tree.value))
    except InvalidOperation:
        share = Decimal(0)
    if not 0 < share < HUNDRED or share != round(share, SHARE_DECIMALS):
        raise WrongMapping(
            at=reading.place(tree, path),
            found=describe(tree),
            expected=f"a share in percent, above 0 and below 100, with {SHARE_DECIMALS} decimals at most",
        )
    return share


def _together(tree: Marked | None, path: str) -> Together | None:
    if tree is None:
        return None
    return Together(reading.rule(reading.known_keys(tree, path, TOGETHER_KEYS).get("when"), f"{path}.when"))


def _tracking(keys: MappingOf[str, Marked], path: str, *, of_line: bool) -> list[Track]:
    """Read category -> field. Any name may be a category's."""
    return [
        Track(name, reading.field_name(field, f"{path}.tracking.{name}"), of_line)
        for name, field in reading.named(keys, "tracking", path)
    ]


def _optional_field(tree: Marked | None, path: str) -> str | None:
    return None if tree is None else reading.field_name(tree, path)


def _code(tree: Marked | None, path: str) -> str | None:
    return None if tree is None else reading.text_of(tree, path).strip()


def _link(keys: MappingOf[str, Marked], tree: Marked, path: str) -> DocumentLink:
    found = _part(keys, "link", tree, path, LINK_KEYS)
    path = f"{path}.link"
    others = {name: _optional_field(found.get(name), f"{path}.{name}") for name in LINK_KEYS if name != "id"}
    link = DocumentLink(id=_object(found, "id", keys["link"], path), **others)
    named = list(link.fields.values())
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise WrongMapping(
            at=reading.place(keys["link"], path), found=f"{twice!r} twice", expected="a field for each"
        )
    return link


def _check(document: DocumentMapping, keys: MappingOf[str, Marked], path: str) -> None:
    for rule in document.rules:
        for name in sorted(rule.columns):
            if not is_field(name):
                raise WrongMapping(
                    at=rule.at,
                    found=f"the name {name!r}",
                    expected=f"a field of {document.salesforce} as it is spelled there",
                )
    if document.number.kind == "reserved" and document.link.number is None:
        raise WrongMapping(
            at=reading.place(keys["link"], f"{path}.link"),
            found="no field for the number",
            expected="`number: Xero_Invoice_Number__c`, where a reserved number is kept first",
        )
    formed = next((keys[name] for name in FORMS if name in keys), None)
    if formed is not None and document.number.kind != "derived":
        raise WrongMapping(
            at=reading.place(formed, path),
            found=f"numbers that are {document.number.kind}",
            expected="`number: {kind: derived}`: by it each part, and each month, is known again",
        )
    if (
        document.instalments is not None
        and document.together is not None
        and document.instalments.when is None
    ):
        raise WrongMapping(
            at=reading.place(keys["instalments"], f"{path}.instalments"),
            found="`together` beside `instalments` for all",
            expected="a `when` under `instalments`: what it does not hold for is billed together",
        )
    if document.together is not None and document.link.url is None:
        raise WrongMapping(
            at=reading.place(keys["link"], f"{path}.link"),
            found="no field for the address",
            expected="`url: Xero_Invoice_Url__c`: by it a sale tells of which month's invoice it is a part",
        )
    unknown = {"exclusive": "total", "inclusive": "subtotal"}.get(document.line_amounts)
    if document.tax is None and document.amount == unknown:
        raise WrongMapping(
            at=reading.place(keys.get("amount") or keys["lines"], f"{path}.amount"),
            found=f"{document.amount!r} with {document.line_amounts} line amounts and no tax of ours",
            expected=f"{'subtotal' if unknown == 'total' else 'total'!r}, `ignore`, or `tax` under lines: "
            "what Xero adds by itself is not known before",
        )
    if document.tax is not None and document.line_amounts == "no_tax":
        raise WrongMapping(
            at=reading.place(keys["lines"], f"{path}.lines.tax"),
            found="a tax with `line_amounts: no_tax`",
            expected="no tax, or other line amounts",
        )
    categories = [track.category.lower() for track in document.tracking]
    if len(categories) > MOST_TRACKED or len(set(categories)) < len(categories):
        raise WrongMapping(
            at=reading.place(keys.get("tracking") or keys["lines"], f"{path}.tracking"),
            found=", ".join(track.category for track in document.tracking),
            expected=f"at most {MOST_TRACKED} tracking categories, each named once: a line carries no more",
        )
    if "options" in keys and not document.tracking:
        raise WrongMapping(
            at=reading.place(keys["options"], f"{path}.options"),
            found="`options` without `tracking`",
            expected="`tracking` beside it, or no `options`: what is not named is not made",
        )
    if "withdraw" in keys and not document.moves:
        raise WrongMapping(
            at=reading.place(keys["withdraw"], f"{path}.withdraw"),
            found="`withdraw` without `changes: move`",
            expected="`changes: move` beside it, or no `withdraw`: what changed is only told",
        )
    if document.credits == "draft" and (not document.moves or document.settled == "off"):
        raise WrongMapping(
            at=reading.place(keys["credits"], f"{path}.credits"),
            found="`credits: draft` without `changes: move` and `settled: read`",
            expected="both beside it: which credit notes are there has to be known first",
        )
    taxed = tuple(rule for rule in document.codes.rules if rule.tax) if document.codes else ()
    if taxed and document.line_amounts == "no_tax":
        raise WrongMapping(
            at=taxed[0].at,
            found="a tax with `line_amounts: no_tax`",
            expected="no tax, or other line amounts",
        )
    if (
        document.account is None
        and document.codes is None
        and any(then != "DRAFT" for _, then in document.status)
    ):
        raise WrongMapping(
            at=reading.place(keys["lines"], f"{path}.lines"),
            found="no account, and invoices that are submitted or approved at once",
            expected="`account`: Xero takes no line without one then",
        )
