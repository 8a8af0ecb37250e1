"""Makes any number of parties by seed: what is true of each, and how either book wrote it down.

parties:N:SEED:DIRT gives N accounts, N persons and N Xero contacts; 0.8 N of the parties are in both books.
DIRT from 0 to 1 says how carelessly they were kept; at 0 both say the same, each in its own shape.
parties:N:SEED:DIRT:DEALS adds so many opportunities with their lines; the parties stay the same.
sales:N:SEED gives N opportunities of N / 5 accounts, each linked to its Xero contact by both ids.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from sandbox.salesforce.ids import make_id
from sandbox.seeds import sales
from sandbox.seeds import words as lists
from sandbox.seeds.books import LINE_BREAK, Books, Row, filled, party_link, person_link

SHARE_IN_BOTH = 0.8
# How often a careless writer (DIRT = 1) does it, in each of the books.
ODDS = {
    "typo": 0.2, "suffix": 0.4, "ampersand": 0.5, "abbreviation": 0.4, "capitals": 0.08, "trading_name": 0.04,
    "no_phone": 0.3, "other_phone": 0.1, "no_email": 0.25, "role_mailbox": 0.3, "shared_domain": 0.12,
    "no_address": 0.25, "moved": 0.15, "street_spelling": 0.5, "no_postcode": 0.08, "no_numbers": 0.7,
    "other_person": 0.15, "no_person": 0.25, "nickname": 0.1, "archived": 0.05,
}  # fmt: skip
TWINS = 0.06  # of the parties, at DIRT = 1: another company of the same name, elsewhere


@dataclass(frozen=True)
class Address:
    lines: tuple[str, ...]
    city: str
    region: str
    postcode: str
    country: str  # GB, IE, US


@dataclass(frozen=True)
class Party:
    """What is true, or what one book holds for true. phone: country code, area, subscriber."""

    name: str
    suffix: str
    address: Address | None
    phone: tuple[str, str, str] | None
    first: str
    last: str
    email: str  # the person's
    company_number: str
    tax_number: str
    customer: bool
    supplier: bool
    role_email: str = ""  # where the book has a role's mailbox instead of the person's

    @property
    def full_name(self) -> str:
        return f"{self.name} {self.suffix}".strip()


def books(count: int, seed: int, dirt: float) -> Books:
    """N accounts, N persons, N contacts, and the links that hold."""
    rng = Random(f"parties:{count}:{seed}:{dirt}")
    shared = round(count * SHARE_IN_BOTH)
    truths = _parties(rng, 2 * count - shared, dirt)
    rng.shuffle(truths)
    ours = truths[:count]
    theirs = list(enumerate(truths))[:shared] + list(enumerate(truths))[count:]
    salesforce, people = _salesforce(rng, ours, dirt)
    xero: list[Row] = []
    taken: set[str] = set()
    links: list[Row] = []
    for at, truth in theirs:
        seen = _written(rng, truth, dirt, ledger=True)
        row = _contact(rng, seen, archived=at >= count and _happens(rng, "archived", dirt))
        row["Name"] = _unique(row["Name"], taken, truth)
        xero.append(row)
        if at < count:
            links.append(party_link(salesforce[at]["Id"], row["ContactID"]))
            if (person := people.get((at, truth.last))) and seen.last == truth.last:
                links.append(person_link(person, row["ContactID"]))
    rng.shuffle(xero)
    return Books(salesforce, xero, links)


def with_deals(made: Books, name: str, count: int) -> Books:
    """The books with `count` opportunities and the products and items that they need. name: of the seed."""
    accounts = [row for row in made.salesforce if row["attributes"]["type"] == "Account"]
    rows = sales.made_up(Random(f"deals of {name}"), accounts, count)
    return Books([*made.salesforce, *rows], [*made.xero, *sales.items()], made.links)


def sales_books(count: int, seed: int) -> Books:
    """Opportunities whose accounts are linked on both sides, so that nothing but invoices is left to do."""
    parties = books(max(count // 5, 5), seed, 0)
    contacts = {row["ContactID"]: row for row in parties.xero}
    accounts = {row["Id"]: row for row in parties.salesforce}
    linked = [link for link in parties.links if link["entity"] == "party"]
    for link in linked:
        accounts[link["salesforce_id"]]["ExternalID__c"] = link["xero_id"]
        contacts[link["xero_id"]]["ContactNumber"] = link["salesforce_id"]
    kept = {link["salesforce_id"] for link in linked}
    salesforce = [row for row in parties.salesforce if row.get("AccountId", row["Id"]) in kept]
    xero = [contacts[link["xero_id"]] for link in linked]
    links = [link for link in parties.links if link["xero_id"].partition(":")[0] in contacts]
    return with_deals(Books(salesforce, xero, links), f"sales:{count}:{seed}", count)


def _unique(name: str, taken: set[str], truth: Party) -> str:
    """Xero lets no two contacts have one name: people add the town to the second, a number to the third."""
    town = truth.address.city if truth.address else "2"
    names = (name, f"{name} ({town})", *(f"{name} {number}" for number in range(2, 1000)))
    free = next(one for one in names if one.casefold() not in taken)
    taken.add(free.casefold())
    return free


# -- what is true


def _parties(rng: Random, count: int, dirt: float) -> list[Party]:
    numbers = rng.sample(range(1_000_000, 9_999_999), count)
    made: list[Party] = []
    for number in numbers:
        party = _party(rng, number)
        if made and rng.random() < TWINS * dirt:
            party = replace(party, name=made[rng.randrange(len(made))].name)
        made.append(party)
    return made


def _party(rng: Random, number: int) -> Party:
    country = rng.choices(("GB", "US"), (92, 8))[0]
    place, region, post, area = rng.choice(lists.places("cities" if country == "GB" else "us_cities"))
    name = _company_name(rng, place)
    suffix = rng.choice(lists.SUFFIXES) if country == "GB" else rng.choice(("Inc", "LLC", ""))
    first, last = rng.choice(lists.words("first_names")), rng.choice(lists.words("surnames"))
    british = country == "GB"
    return Party(
        name=name,
        suffix=suffix,
        address=_address(rng, place, region, post, country),
        phone=("44" if british else "1", area, _subscriber(rng, area)),
        first=first,
        last=last,
        email=_mailbox(rng, first, last, _domain(name)),
        company_number=f"{number:08d}" if british and rng.random() < 0.4 else "",
        tax_number=f"GB{_vat(number)}" if british and rng.random() < 0.5 else "",
        customer=rng.random() < 0.85,
        supplier=rng.random() < 0.25,
    )


def _company_name(rng: Random, place: str) -> str:
    surname, adjective = rng.choice(lists.words("surnames")), rng.choice(lists.words("adjectives"))
    trade = rng.choice(lists.words("trades"))
    forms = (
        f"{surname} {trade}",
        f"{adjective} {trade}",
        f"{place} {trade}",
        f"{surname} & {rng.choice(lists.words('surnames'))} {trade}",
        f"{adjective} {rng.choice(lists.words('adjectives'))} {trade}",
        f"{surname} {rng.choice(('Brothers', '& Sons', '& Daughters', 'Associates'))}",
    )
    return rng.choices(forms, (45, 25, 10, 10, 6, 4))[0]


def _address(rng: Random, place: str, region: str, post: str, country: str) -> Address:
    street = _street(rng)
    lines = (street,)
    if rng.random() < 0.35:
        building = rng.choice(lists.BUILDINGS)
        lines = (
            building.format(n=rng.randint(1, 40), word=rng.choice(lists.words("streets")).replace("'s", "s")),
            street,
        )
    if country == "US":
        return Address(lines, place, region, f"{post}{rng.randint(1, 99):02d}", country)
    letters = "".join(rng.choices("ABDEFGHJLNPQRSTUWXYZ", k=2))
    outward = f"{post}1{rng.choice('AMNRVY')}" if post == "EC" else f"{post}{rng.randint(1, 20)}"
    return Address(lines, place, region, f"{outward} {rng.randint(1, 9)}{letters}", country)


def _street(rng: Random) -> str:
    return f"{rng.randint(1, 240)} {rng.choice(lists.words('streets'))} {rng.choice(lists.STREET_KINDS)}"


def _subscriber(rng: Random, area: str) -> str:
    first = {"20": "7", "29": "2"}.get(area) or str(rng.randint(2, 8))
    length = 10 - len(area)
    return first + f"{rng.randrange(10 ** (length - 1)):0{length - 1}d}"


def _domain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("&", "and")) + ".example"


def _mailbox(rng: Random, first: str, last: str, domain: str) -> str:
    forms = (f"{first}.{last}", f"{first[0]}.{last}", f"{first}", f"{first[0]}{last}", f"{last}.{first}")
    return f"{rng.choice(forms)}@{domain}".lower()


def _vat(number: int) -> str:
    """Nine digits with the check digits of a British VAT number."""
    digits = f"{number % 10_000_000:07d}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, range(8, 1, -1), strict=True))
    return f"{digits}{97 - total % 97:02d}"


# -- how a book wrote it down


def _happens(rng: Random, what: str, dirt: float) -> bool:
    return rng.random() < ODDS[what] * dirt


def _written(rng: Random, truth: Party, dirt: float, *, ledger: bool) -> Party:
    """The party as one book has it. The ledger knows fewer persons, the CRM fewer numbers."""
    seen = replace(truth, name=_name(rng, truth.name, dirt), suffix=_suffix(rng, truth.suffix, dirt))
    seen = replace(seen, address=_written_address(rng, truth, dirt), phone=_written_phone(rng, truth, dirt))
    if _happens(rng, "no_numbers", dirt):
        seen = replace(seen, tax_number="")
    if _happens(rng, "no_numbers", dirt):
        seen = replace(seen, company_number="")
    return _written_person(rng, seen, dirt, ledger=ledger)


def _name(rng: Random, name: str, dirt: float) -> str:
    if _happens(rng, "trading_name", dirt):
        name = f"{rng.choice(lists.words('adjectives'))} {name.split()[-1]} t/a {name}"
    if _happens(rng, "ampersand", dirt):
        name = name.replace(" & ", " and ")
    if _happens(rng, "abbreviation", dirt):
        name = " ".join(lists.ABBREVIATIONS.get(word, word) for word in name.split())
    if _happens(rng, "typo", dirt):
        name = _typo(rng, name)
    return name.upper() if _happens(rng, "capitals", dirt) else name


def _typo(rng: Random, text: str) -> str:
    """Two letters swapped, one dropped, one doubled, or one hit beside its key."""
    at = rng.randrange(1, len(text) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[:at] + text[at] + text[at:]
    return text[:at] + rng.choice("aeiorstn") + text[at + 1 :]


def _suffix(rng: Random, suffix: str, dirt: float) -> str:
    spellings = lists.SUFFIX_SPELLINGS.get(suffix)
    return rng.choice(spellings) if spellings and _happens(rng, "suffix", dirt) else suffix


def _written_address(rng: Random, truth: Party, dirt: float) -> Address | None:
    address = truth.address
    if address is None or _happens(rng, "no_address", dirt):
        return None
    if _happens(rng, "moved", dirt):
        street = _street(rng)
        outward = address.postcode.split()[0]
        letters = "".join(rng.choices("ABDEFGHJLNPQRSTUWXYZ", k=2))
        postcode = f"{outward} {rng.randint(1, 9)}{letters}" if address.country == "GB" else address.postcode
        address = replace(address, lines=(street,), postcode=postcode)
    if _happens(rng, "street_spelling", dirt):
        address = replace(address, lines=tuple(_shorter(line) for line in address.lines))
    if _happens(rng, "no_postcode", dirt):
        address = replace(address, postcode="")
    return address


def _shorter(line: str) -> str:
    return " ".join(lists.STREET_ABBREVIATIONS.get(word, word) for word in line.split())


def _written_phone(rng: Random, truth: Party, dirt: float) -> tuple[str, str, str] | None:
    if truth.phone is None or _happens(rng, "no_phone", dirt):
        return None
    country, area, subscriber = truth.phone
    if _happens(rng, "other_phone", dirt):
        subscriber = _subscriber(rng, area)
    return country, area, subscriber


def _written_person(rng: Random, seen: Party, dirt: float, *, ledger: bool) -> Party:
    domain = _domain(seen.name)
    if _happens(rng, "shared_domain", dirt):
        shared = rng.choice(lists.SHARED_DOMAINS)
        seen = replace(seen, email=f"{seen.first}.{seen.last}{rng.randint(1, 99)}@{shared}".lower())
    if _happens(rng, "nickname", dirt):
        seen = replace(seen, first=f"{seen.first[0]}.")
    if ledger and _happens(rng, "other_person", dirt):
        first, last = rng.choice(lists.words("first_names")), rng.choice(lists.words("surnames"))
        seen = replace(seen, first=first, last=last, email=_mailbox(rng, first, last, domain))
    if ledger and _happens(rng, "no_person", dirt):
        seen = replace(seen, first="", last="")
    if _happens(rng, "role_mailbox", dirt):
        mail_domain = seen.email.partition("@")[2]
        seen = replace(seen, role_email=f"{rng.choice(lists.ROLES)}@{mail_domain}")
    return replace(seen, email="") if _happens(rng, "no_email", dirt) else seen


# -- Salesforce's shape


def _salesforce(
    rng: Random, truths: Sequence[Party], dirt: float
) -> tuple[list[Row], dict[tuple[int, str], str]]:
    """N accounts and then N contacts; the ids of the contacts by account and last name."""
    accounts: list[Row] = []
    contacts: list[Row] = []
    people: dict[tuple[int, str], str] = {}
    for at, truth in enumerate(truths):
        seen = _written(rng, truth, dirt, ledger=False)
        account = _account(rng, at, seen)
        accounts.append(account)
        # Every tenth account has no person and the one after it two, so that there are as many as accounts.
        for _ in range({8: 0, 9: 2}.get(at % 10, 1) if at - at % 10 + 9 < len(truths) else 1):
            person_id = make_id("003", "Gn", len(contacts) + 1)
            contacts.append(_person(rng, person_id, account, seen))
            people.setdefault((at, truth.last), person_id)
            first, last = rng.choice(lists.words("first_names")), rng.choice(lists.words("surnames"))
            seen = replace(
                seen, first=first, last=last, email=_mailbox(rng, first, last, _domain(truth.name))
            )
    return [*accounts, *contacts], people


def _account(rng: Random, at: int, seen: Party) -> Row:
    kinds = ("Customer - Direct", "Customer - Channel") if seen.customer else ("Prospect", "Other")
    row = {
        "attributes": {"type": "Account"},
        "Id": make_id("001", "Gn", at + 1),
        "Name": seen.full_name,
        "Type": rng.choice(kinds),
        "Phone": _phone_text(rng, seen.phone),
        "Billing_Email__c": seen.role_email,
        "Tax_Number__c": seen.tax_number,
        "Company_Number__c": seen.company_number,
        **_salesforce_stamps(rng),
    }
    if seen.address:
        row |= {
            "BillingStreet": LINE_BREAK.join(seen.address.lines),
            "BillingCity": seen.address.city,
            "BillingState": seen.address.region,
            "BillingPostalCode": seen.address.postcode,
            "BillingCountry": {"GB": "United Kingdom", "US": "United States"}[seen.address.country],
        }
    return filled(row)


def _person(rng: Random, person_id: str, account: Row, seen: Party) -> Row:
    return filled(
        {
            "attributes": {"type": "Contact"},
            "Id": person_id,
            "AccountId": account["Id"],
            "FirstName": seen.first,
            "LastName": seen.last,
            "Email": seen.email,
            "Title": rng.choice(lists.TITLES),
            **_salesforce_stamps(rng),
        }
    )


def _phone_text(rng: Random, phone: tuple[str, str, str] | None) -> str:
    """One of the spellings that people use; all are the same number."""
    if phone is None:
        return ""
    country, area, number = phone
    if country == "1":
        return f"({area}) {number[:3]}-{number[3:]}"
    half = len(number) // 2
    forms = (
        f"0{area} {number}", f"0{area} {number[:half]} {number[half:]}", f"+44 {area} {number}",
        f"+44 (0){area} {number[:half]} {number[half:]}", f"(0{area}) {number}", f"0{area}{number}",
    )  # fmt: skip
    return rng.choice(forms)


def _salesforce_stamps(rng: Random) -> Row:
    stamp = f"{_moment(rng)}.000+0000"
    return {"CreatedDate": stamp, "LastModifiedDate": stamp, "SystemModstamp": stamp}


def _moment(rng: Random) -> str:
    return (
        f"2025-{rng.randint(1, 9):02d}-{rng.randint(1, 28):02d}"
        f"T{rng.randint(7, 18):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}"
    )


# -- Xero's shape


def _contact(rng: Random, seen: Party, *, archived: bool) -> Row:
    row: Row = {
        "ContactID": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "Name": seen.full_name,
        "ContactStatus": "ARCHIVED" if archived else "ACTIVE",
        "FirstName": seen.first,
        "LastName": seen.last,
        "EmailAddress": seen.role_email or seen.email,
        "TaxNumber": seen.tax_number,
        "CompanyNumber": seen.company_number,
        "UpdatedDateUTC": f"{_moment(rng)}+00:00",
    }
    if seen.phone:
        row["Phones"] = [{"PhoneType": "DEFAULT", **_phone_pieces(rng, seen.phone)}]
    if seen.address:
        row["Addresses"] = [_postal(rng, seen.address)]
    return {**filled(row), "IsCustomer": seen.customer, "IsSupplier": seen.supplier}


def _phone_pieces(rng: Random, phone: tuple[str, str, str]) -> Row:
    """Xero has three boxes, and people put it all into the last one."""
    country, area, number = phone
    trunk = "" if country == "1" else "0"
    forms = (
        {"PhoneCountryCode": country, "PhoneAreaCode": area, "PhoneNumber": number},
        {"PhoneCountryCode": f"+{country}", "PhoneAreaCode": area, "PhoneNumber": number},
        {"PhoneAreaCode": trunk + area, "PhoneNumber": number},
        {"PhoneNumber": f"+{country} {area} {number}" if country == "1" else f"0{area} {number}"},
    )
    # Outside of the UK a number without its country is another number.
    return forms[rng.choice((0, 1, 3)) if country == "1" else rng.randrange(len(forms))]


def _postal(rng: Random, address: Address) -> Row:
    lines = {f"AddressLine{at}": line for at, line in enumerate(address.lines, 1)}
    countries = {"GB": ("United Kingdom", "UK", "GB"), "US": ("United States", "USA", "US")}
    return filled(
        {
            "AddressType": "POBOX",
            **lines,
            "City": address.city,
            "Region": address.region,
            "PostalCode": address.postcode,
            "Country": rng.choice(countries[address.country]),
        }
    )
