"""Addresses: one canonical form of both systems, and words for countries."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.addresses import canonical_address, canonical_lines, salesforce_address, xero_address
from reconcile.countries import (
    canonical_country,
    canonical_region,
    country_codes,
    country_name,
    letters_only,
)


def address(*lines: str, country: str | None = "UK", **parts: str | None) -> str | None:
    given = {"city": None, "region": None, "postal_code": None, **parts}
    return canonical_address(lines, **given, country=country)


def test_a_street_of_several_lines_and_lines_of_their_own_are_one_address() -> None:
    assert address("1 High St\r\n Level 2 \n") == address("1 High St", "Level 2", "", "")


def test_what_is_beyond_four_lines_is_joined_to_the_fourth() -> None:
    assert canonical_lines(("a\nb\nc\nd\ne\nf",)) == ["a", "b", "c", "d, e, f"]
    assert address("a\nb\nc\nd\ne") == address("a", "b", "c", "d, e")


def test_blank_parts_are_no_address() -> None:
    assert address(" ", "\n", country="") is None


def test_the_form_is_stable_json() -> None:
    value = address("1 High St", city=" London ", postal_code="sw1a1aa")
    assert (
        value
        == '{"city":"London","country":"GB","lines":["1 High St"],"postal_code":"SW1A 1AA","region":null}'
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UK", "GB"),
        ("U.K.", "GB"),
        ("england", "GB"),
        ("Scotland", "GB"),
        ("gbr", "GB"),
        ("USA", "US"),
        ("U.S.A.", "US"),
        ("United States of America", "US"),
        ("Korea, Republic of", "KR"),
        ("Côte d'Ivoire", "CI"),
        ("Cote dIvoire", "CI"),
        ("Deutschland", "DE"),
        ("Czech Republic", "CZ"),
        ("Atlantis", "Atlantis"),
        ("  ", None),
    ],
)
def test_a_country_is_known_by_its_usual_names_and_an_unknown_one_stays(text: str, code: str | None) -> None:
    assert canonical_country(text) == code


@pytest.mark.parametrize("code", country_codes())
def test_every_country_reads_back_from_its_name_also_in_letters_only(code: str) -> None:
    name = letters_only(country_name(code))
    assert canonical_country(name) == code == canonical_country(country_name(code))
    assert name.replace(" ", "").isascii() and name.replace(" ", "").isalpha()


def test_states_are_written_by_code_where_addresses_are() -> None:
    assert canonical_region("New South Wales", "AU") == canonical_region("nsw", "AU") == "NSW"
    assert canonical_region("California", "US") == "CA"
    assert canonical_region("Greater London", "GB") == "Greater London"


def test_a_part_that_means_the_same_keeps_its_present_spelling() -> None:
    value = address("2 High St", city="Austin", region="Texas", country="USA")
    assert value is not None
    present = {"street": "1 High St", "city": "Austin", "region": "Texas", "country": "U.S.A."}
    assert salesforce_address(value, present) == {
        "street": "2 High St",
        "city": "Austin",
        "region": "Texas",
        "postal_code": None,
        "country": "U.S.A.",
    }


def test_a_country_is_written_by_its_english_name() -> None:
    value = address("2 High St", country="gb")
    assert value is not None
    assert salesforce_address(value, {})["country"] == "United Kingdom"
    assert salesforce_address(value, {"country": "France"})["country"] == "United Kingdom"


def test_xero_gets_a_known_country_in_letters_only_and_an_unknown_text_unmangled() -> None:
    known, unknown = address("a", country="Côte d'Ivoire"), address("a", country="Sector 7")
    assert known is not None and unknown is not None
    assert xero_address(known, {})["country"] == "Cote dIvoire"
    assert xero_address(unknown, {})["country"] == "Sector 7"


texts = st.one_of(
    st.none(), st.sampled_from(["", " a ", "b\nc", "sw1a1aa", "Texas", "NSW"]), st.text(max_size=8)
)
spelled = st.one_of(
    st.none(),
    st.sampled_from(["UK", "United States", "AU", "Côte d'Ivoire", "Atlantis"]),
    st.text(max_size=6),
)
presents = st.fixed_dictionaries(
    {
        **dict.fromkeys(
            ["street", "line1", "line2", "line3", "line4", "city", "region", "postal_code"], texts
        ),
        "country": spelled,
    }
)


@given(st.lists(texts, max_size=6), texts, texts, texts, spelled, presents)
def test_what_is_written_onto_anything_reads_back(
    lines: list[str | None],
    city: str | None,
    region: str | None,
    postal_code: str | None,
    country: str | None,
    present: dict[str, str | None],
) -> None:
    value = canonical_address(tuple(lines), city, region, postal_code, country)
    if value is None:
        return
    json.loads(value)
    out = salesforce_address(value, present)
    assert (
        canonical_address((out["street"],), out["city"], out["region"], out["postal_code"], out["country"])
        == value
    )
    out = xero_address(value, present)
    four = (out["line1"], out["line2"], out["line3"], out["line4"])
    assert canonical_address(four, out["city"], out["region"], out["postal_code"], out["country"]) == value
