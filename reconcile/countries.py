"""Countries and their regions: free text to ISO codes, and back into words."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

import pycountry

from reconcile.names import fold

ALIASES: Final = {
    "GB": "UK, Great Britain, Britain, England, Scotland, Wales, Northern Ireland, Gt Britain, G B, Cymru, "
    "United Kingdom of Great Britain",
    "US": "USA, United States of America, America, U S, U S A, The United States, The USA, Estados Unidos",
    "IE": "Eire, Republic of Ireland, Ireland Republic of, ROI, Southern Ireland",
    "NL": "Holland, The Netherlands, Nederland",
    "AE": "UAE, Emirates, Dubai, Abu Dhabi",
    "KR": "South Korea, Korea South, Korea, Republic of Korea",
    "KP": "North Korea, Korea North",
    "RU": "Russia",
    "CZ": "Czech Republic, Czechia",
    "DE": "Deutschland, Federal Republic of Germany",
    "AT": "Osterreich",
    "CH": "Schweiz, Suisse, Svizzera",
    "ES": "Espana",
    "IT": "Italia",
    "BR": "Brasil",
    "CN": "PRC, Peoples Republic of China, Mainland China",
    "HK": "Hong Kong SAR, Hongkong",
    "TW": "Taiwan, Republic of China, ROC",
    "VN": "Vietnam, Viet Nam",
    "TR": "Turkey, Turkiye",
    "NZ": "Aotearoa, Aotearoa New Zealand",
    "CI": "Ivory Coast",
    "CD": "DR Congo, DRC, Democratic Republic of Congo, Congo Kinshasa",
    "CG": "Congo, Republic of the Congo, Congo Brazzaville",
    "MK": "Macedonia, FYROM",
    "SZ": "Swaziland",
    "MM": "Burma",
    "CV": "Cape Verde",
    "TL": "East Timor",
    "BN": "Brunei",
    "SY": "Syria",
    "LA": "Laos",
    "PS": "Palestine",
    "VA": "Vatican, Vatican City",
    "FM": "Micronesia",
    "MD": "Moldova",
    "TZ": "Tanzania",
    "VE": "Venezuela",
    "BO": "Bolivia",
    "IR": "Iran",
}
# Where an address is written with the code of its state; elsewhere a region stays as it was given.
WITH_STATES: Final = ("US", "CA", "AU")


def canonical_country(text: str | None) -> str | None:
    """Give ISO alpha-2 where the text names a country; else the text itself, folded; null for blank."""
    folded = fold(text)
    return None if folded is None else _countries().get(_key(folded), folded)


def is_country(code: str | None) -> bool:
    return code is not None and code in _names()


def country_codes() -> list[str]:
    return list(_names())


def country_name(value: str) -> str:
    """Give the English short name of an ISO code; a text that is no code comes back as it is."""
    return _names().get(value, value)


def letters_only(text: str) -> str:
    """Write a name with letters A to Z and spaces: all that Xero takes as a country."""
    plain = unicodedata.normalize("NFKD", text)
    return " ".join(re.sub(r"[^A-Za-z ]", "", plain).split())


@lru_cache(maxsize=4096)
def canonical_region(text: str | None, country: str | None) -> str | None:
    """Give the state's code in countries that write it so (NSW, CA), else the text, folded."""
    folded = fold(text)
    if folded is None or country not in WITH_STATES:
        return folded
    return _states(country).get(_key(folded), folded)


def _key(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in plain if character.isalnum())


@cache
def _names() -> dict[str, str]:
    return {c.alpha_2: getattr(c, "common_name", c.name) for c in pycountry.countries}


@cache
def _countries() -> dict[str, str]:
    keys: dict[str, str] = {}
    for country in pycountry.countries:
        spelled = (country.alpha_2, country.alpha_3, country.name)
        also = (getattr(country, "common_name", ""), getattr(country, "official_name", ""))
        keys |= {_key(name): country.alpha_2 for name in (*spelled, *also) if name}
        keys[_key(letters_only(_names()[country.alpha_2]))] = country.alpha_2
    for code, names in ALIASES.items():
        keys |= {_key(name): code for name in names.split(",")}
    return keys


@cache
def _states(country: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for state in pycountry.subdivisions.get(country_code=country) or ():
        code = state.code.partition("-")[2]
        keys |= {_key(code): code, _key(state.name): code}
    return keys
