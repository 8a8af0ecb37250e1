"""docs/mapping.md lags behind nothing: every word of the language stands in it, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mapped_records import mapping

from mappings import library
from reconcile import mapping as language
from reconcile import mapping_bills as bills
from reconcile import mapping_codes as codes
from reconcile import mapping_documents as documents
from reconcile import mapping_groups as groups
from reconcile import mapping_payments as payments
from reconcile.kinds import KINDS
from reconcile.mapped import ATTRIBUTES, PROJECTED
from reconcile.model import FLOWS, MERGED, SIDES

DOCS = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
WORDS = {
    *language.ENTITY_KEYS,
    *language.SIDE_KEYS,
    *language.CREATE_KEYS,
    *language.UNIT_KEYS,
    *language.PROJECTION_KEYS,
    *language.ADDRESS_KEYS,
    *language.CREATE,
    *language.DELETE,
    *language.CONFLICT,
    *language.DRIFT,
    *MERGED,
    *FLOWS,
    *SIDES,
    *KINDS,
    *PROJECTED,
    *ATTRIBUTES["xero"],
    *documents.DOCUMENTS,
    *documents.DOCUMENT_KEYS,
    *documents.HEADER_KEYS,
    *documents.STATUS_KEYS,
    *documents.NUMBER_KEYS,
    *documents.LINES_KEYS,
    *documents.LINK_KEYS,
    *documents.MADE_AS,
    *documents.NUMBERED,
    *documents.AMOUNT,
    *documents.LINE_AMOUNTS,
    *documents.ITEMS,
    *codes.CODES_KEYS,
    *codes.INFER_KEYS,
    *codes.OF_LINES,
    *codes.OF_TOTALS,
    *codes.CURRENCY_KEYS,
    *codes.RATES,
    *codes.LACKING,
    *documents.SETTLED,
    *groups.KEYS,
    *groups.REMOVE,
    *bills.KEYS,
    *bills.MADE_AS,
    *payments.KEYS,
    *payments.SHOWN,
    "documents",
    "extends",
}


@pytest.mark.parametrize("word", sorted(WORDS))
def test_every_word_of_the_language_is_explained(word: str) -> None:
    code = " ".join(re.findall(r"`[^`]+`", re.sub(r"```.*?```", "", DOCS, flags=re.DOTALL)))
    assert re.search(rf"\b{word}\b", code), f"docs/mapping.md does not explain `{word}`"


def test_every_kind_and_every_shipped_mapping_has_its_row() -> None:
    rows = "\n".join(line for line in DOCS.splitlines() if line.startswith("| `"))
    assert not [name for name in (*KINDS, *library()) if f"`{name}`" not in rows]


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL))
def test_every_example_loads(example: str) -> None:
    assert mapping(example).entities
