"""Countries and states from lists: what an org with State and Country/Territory Picklists takes of an address.

Off until `POST /sandbox/setup {"address_lists": true}`. The lists are a few of the many; in the text fields their
labels are taken, never codes, and the code fields follow (and the other way round).
"""

from __future__ import annotations

from sandbox.salesforce.errors import Refused
from sandbox.salesforce.org import Org
from sandbox.salesforce.schema import SObject
from sandbox.store import Body

COUNTRIES = {
    "AU": "Australia", "CA": "Canada", "DE": "Germany", "FR": "France", "GB": "United Kingdom", "IE": "Ireland",
    "NZ": "New Zealand", "SG": "Singapore", "US": "United States",
}  # fmt: skip
# Only some countries come with states; where there is none, none is taken (second hand: the UK has none).
STATES = {
    "AU": {"NSW": "New South Wales", "VIC": "Victoria", "QLD": "Queensland"},
    "CA": {"ON": "Ontario", "QC": "Quebec", "BC": "British Columbia"},
    "IE": {"D": "Dublin", "CO": "Cork", "G": "Galway"},
    "US": {
        "AZ": "Arizona", "CA": "California", "IL": "Illinois", "KS": "Kansas", "NC": "North Carolina",
        "NY": "New York", "OR": "Oregon", "TX": "Texas", "WA": "Washington",
    },
}  # fmt: skip

# recorded: the first; second hand: the others
BAD_COUNTRY = (
    "There's a problem with this country, even though it may appear correct. Please select a country/territory from "
    "the list of valid countries.: {}"
)
BAD_STATE = (
    "There's a problem with this state, even though it may appear correct. Please select a state from the list of "
    "valid states.: {}"
)
NO_COUNTRY = "A country/territory must be specified before specifying a state value for field: {}"


def completed(org: Org, sobject: SObject, body: Body, written: set[str]) -> Body:
    """The record with labels and codes in agreement, or Refused; as it is where the org has no lists."""
    if not org.address_lists():
        return body
    for address in sobject.parts:
        prefix = address.removesuffix("Address")
        if written & {f"{prefix}{what}" for what in ("Country", "CountryCode", "State", "StateCode")}:
            body = _listed(body, f"{prefix}Country", COUNTRIES, BAD_COUNTRY, written)
            body = _state(body, prefix, written)
    return body


def _state(body: Body, prefix: str, written: set[str]) -> Body:
    country = body.get(f"{prefix}CountryCode")
    state, code = f"{prefix}State", f"{prefix}StateCode"
    named = state if state in body else code if code in body and code in written else None
    if named and country is None:
        raise _refused(NO_COUNTRY, named)
    # Another country, too, must know the state that was there.
    checked = written | {state} if state in body else written
    return _listed(body, state, STATES.get(country or "", {}), BAD_STATE, checked)


def _listed(body: Body, field: str, choices: dict[str, str], wrong: str, written: set[str]) -> Body:
    """Label and code of one list; a code that was written decides."""
    code, text = f"{field}Code", body.get(field)
    if code in written and code in body:
        if body[code] not in choices:
            raise _refused(wrong, code)
        return {**body, field: choices[body[code]]}
    if field not in written:
        return body
    if text is None:
        return {name: value for name, value in body.items() if name != code}
    found = next((one for one, label in choices.items() if label.casefold() == str(text).casefold()), None)
    if found is None:
        raise _refused(wrong, field)
    return {**body, code: found, field: choices[found]}


def _refused(message: str, field: str) -> Refused:
    words: list[str] = []
    for letter in field:
        words.append(f" {letter}" if letter.isupper() else letter)
    return Refused("FIELD_INTEGRITY_EXCEPTION", message.format("".join(words).strip()), fields=[field])
