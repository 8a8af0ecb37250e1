"""Phone numbers read, and written so that they read back."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.phones import canonical_parts, canonical_phone, salesforce_phone, xero_phone

REGIONS = st.sampled_from(["GB", "US", "AU", "NZ", "IT", "DE", "AR", "MX", "BR", "FR", "SG", "IE"])
WRITTEN = st.text(alphabet="0123456789+ ()-./x#;extraw:a٠日", max_size=24)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("020 7946 0000", "GB", "+442079460000"),
        ("+44 (0)20 7946 0000", "US", "+442079460000"),
        ("0044 20 7946 0000", "GB", "+442079460000"),
        ("tel: 020 7946 0000", "GB", "+442079460000"),
        ("(336) 222-7000", "US", "+13362227000"),
        ("+1 415 555 0100 x12", "GB", "+14155550100;ext=12"),
        ("(02) 9876 5432", "AU", "+61298765432"),
        ("(415) 555-0100", "GB", "raw:4155550100"),
        ("020 7946 0000 / 0001", "GB", "raw:020794600000001"),
        ("ask reception", "GB", "raw:ask reception"),
        ("  ", "GB", None),
        (None, "GB", None),
    ],
)
def test_a_number_is_read_in_its_region_or_left_as_digits(text: str, region: str, expected: str) -> None:
    assert canonical_phone(text, region) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("44", "020", "7946 0000"), "+442079460000"),
        (("+44", "20", "79460000"), "+442079460000"),
        (("0044", "", "20 7946 0000"), "+442079460000"),
        (("", "020", "7946 0000"), "+442079460000"),
        ((None, None, "020 7946 0000"), "+442079460000"),
        (("44", "", "+44 20 7946 0000"), "+442079460000"),
        (("64", "9", "555 0100"), "+6495550100"),
        (("1", "415", "555 0100 x3"), "+14155550100;ext=3"),
        (("39", "", "06 698 1234"), "+39066981234"),
        (("", "", ""), None),
        ((None, None, None), None),
    ],
)
def test_the_three_fields_of_xero_are_one_number_however_they_are_filled(
    parts: tuple[str, str, str], expected: str
) -> None:
    assert canonical_parts(*parts, "GB") == expected


def test_salesforce_gets_the_international_form_and_xero_its_three_fields() -> None:
    assert salesforce_phone("+442079460000;ext=12") == "+44 20 7946 0000 x12"
    assert xero_phone("+442079460000") == {"country": "44", "area": "20", "number": "79460000"}
    assert xero_phone("raw:12") == {"country": "", "area": "", "number": "12"}


@given(WRITTEN, REGIONS)
def test_what_is_written_reads_back(text: str, region: str) -> None:
    value = canonical_phone(text, region)
    if value is not None:
        reads_back(value, region)


@given(st.text(alphabet="0123456789+ (x", max_size=5), WRITTEN, WRITTEN, REGIONS)
def test_what_came_in_three_fields_reads_back(country: str, area: str, number: str, region: str) -> None:
    value = canonical_parts(country, area, number, region)
    if value is not None:
        reads_back(value, region)


def test_an_example_of_every_kind_in_every_country_reads_back() -> None:
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in range(11):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
            value = canonical_phone(written, region)
            assert value == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            assert canonical_parts(str(number.country_code), "", written, "GB") == value
            reads_back(value, "GB")


def reads_back(value: str, region: str) -> None:
    assert canonical_phone(salesforce_phone(value), region) == value
    parts = xero_phone(value)
    assert canonical_parts(parts["country"], parts["area"], parts["number"], region) == value
