"""Codes that Xero has no room for: shortened the same way every time, and never two into one unseen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconcile.item_codes import LONGEST, item_code

codes = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


@given(codes)
def test_no_code_is_longer_than_xero_takes_and_a_shortened_one_stays(code: str) -> None:
    short = item_code(code)
    assert short is None or len(short) <= LONGEST
    assert item_code(short) == short


@given(st.text("abcXYZ0-/. ", min_size=1, max_size=30).map(str.strip).filter(bool))
def test_what_fits_stays_as_it_is_but_for_its_blanks(code: str) -> None:
    assert item_code(f"  {code} ") == " ".join(code.split())


@given(st.text("ABab12-", min_size=31, max_size=50), st.text("ABab12-", min_size=31, max_size=50))
def test_two_long_codes_stay_two(one: str, other: str) -> None:
    assert (item_code(one) == item_code(other)) == (one == other)


def test_a_long_code_keeps_its_beginning_and_ends_in_a_mark_of_the_whole() -> None:
    long = "CABLE-ASSEMBLY/CAT6A/SHIELDED/305M/GREY"
    # The mark was worked out by `sha256sum`: as others stored it, it must never be another one.
    assert item_code(long) == "CABLE-ASSEMBLY/CAT6A/~3C8099CB"


def test_blank_is_no_code() -> None:
    assert item_code(" \t ") is None
    assert item_code(None) is None
