"""Two small books that hold one of each trap: what a vendor trims, folds, splits, cuts, refuses or rewrites.

Rows in the vendors' shapes, for the sandbox's `load`: they are there as somebody once typed them.
"""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]


def account_id(number: int) -> str:
    return f"001{number:012d}AAA"


def contact_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def account(number: int, name: str, **fields: Any) -> Body:
    base = {
        "attributes": {"type": "Account"},
        "Id": account_id(number),
        "Name": name,
        "Type": "Customer - Direct",
    }
    return base | fields


def person(number: int, first: str, last: str, **fields: Any) -> Body:
    base = {"attributes": {"type": "Contact"}, "Id": f"003{number:012d}AAA", "AccountId": account_id(number)}
    return base | {"FirstName": first, "LastName": last} | fields


def contact(number: int, name: str, **fields: Any) -> Body:
    base = {"ContactID": contact_id(number), "Name": name, "ContactStatus": "ACTIVE", "IsCustomer": True}
    return base | fields


def primary(first: str, last: str, email: str) -> Body:
    return {"FirstName": first, "LastName": last, "EmailAddress": email}


def phones(**numbers: str) -> list[Body]:
    return [{"PhoneType": kind, "PhoneNumber": number} for kind, number in numbers.items()]


def address(kind: str, *lines: str, **fields: Any) -> Body:
    return {"AddressType": kind, **{f"AddressLine{n}": line for n, line in enumerate(lines, 1)}} | fields


def billing(street: str, city: str = "Leeds", code: str = "LS1 4AP", country: str = "United Kingdom") -> Body:
    return {
        "BillingStreet": street,
        "BillingCity": city,
        "BillingPostalCode": code,
        "BillingCountry": country,
    }


BOX = {"City": "Leeds", "PostalCode": "LS1 4AP", "Country": "United Kingdom"}

SALESFORCE: list[Body] = [
    account(1, "Alder Works Ltd", Phone="020 7946 0001", Tax_Number__c="GB123456789", **billing("1 High St")),
    person(1, "Ann", "Alder", Email="Ann.Alder@alder.example"),
    account(2, "Birch & Sons", Phone="+44 20 7946 0002", Billing_Email__c="Accounts@birch.example"),
    account(3, "Cedar  Trading", Phone="(020) 7946 0003", **billing("Unit 3\r\nMill Lane\r\nHolbeck")),
    person(3, "Cy", "Cedar", Email="cy@cedar.example"),
    account(4, "Dogwood plc", Fax="020 7946 0004", AccountNumber="CC-004"),
    person(4, "Di", "Dogwood", Email="DI@DOGWOOD.EXAMPLE"),
    account(5, "Elm Street Café", Company_Number__c="01234567", **billing("5 Elm St\nFloor 2")),
    person(5, "Éva", "Elm", Email="eva@elm.example"),
    account(6, "Fir Ltd", Phone="01632 960006", Website="https://fir.example"),
    person(6, "Flo", "Fir", Email="flo@fir.example"),
    account(
        7, "Gum Inc", Phone="5125550107", **billing("7 Main St", "Austin", "78701", "United States (US)")
    ),
    account(8, "Holly Nurseries", Phone="01632 960008"),
    person(8, "Hal", "Holly", Email="hal@holly.example"),
    # Here alone: made in Xero.
    account(20, "Sorrel New Ltd", Phone="020 7946 0020", **billing("20 The Row\r\nBack Yard")),
    person(20, "Sol", "Sorrel", Email="Sol@Sorrel.example"),
    account(21, "Tansy  and  Co ", Phone="+1 512 555 0121 ", Tax_Number__c="GB987654321"),
]

XERO: list[Body] = [
    contact(
        1,
        "Alder Works Ltd",
        TaxNumber="GB123456789",
        FirstName="Ann",
        LastName="Alder",
        EmailAddress="ann.alder@alder.example",
        Phones=phones(DEFAULT="+44 20 7946 0001"),
        Addresses=[address("POBOX", "1 High St", **BOX)],
    ),
    contact(2, "Birch & Sons", EmailAddress="accounts@birch.example", Phones=phones(DEFAULT="02079460002")),
    contact(
        3,
        "Cedar Trading",
        FirstName="Cy",
        LastName="Cedar",
        EmailAddress="cy@cedar.example",
        Phones=[
            {
                "PhoneType": "DEFAULT",
                "PhoneCountryCode": "44",
                "PhoneAreaCode": "20",
                "PhoneNumber": "7946 0003",
            }
        ],
        Addresses=[address("POBOX", "Unit 3", "Mill Lane", "Holbeck", **BOX)],
    ),
    contact(4, "Dogwood plc", AccountNumber="CC-004", **primary("Di", "Dogwood", "di@dogwood.example")),
    contact(5, "Elm Street Café", CompanyNumber="01234567", **primary("Éva", "Elm", "eva@elm.example")),
    contact(6, "Fir Ltd", **primary("Flo", "Fir", "flo@fir.example"), Phones=phones(FAX="01632 960066")),
    contact(7, "Gum Inc", Phones=phones(DEFAULT="512-555-0107"), EmailAddress="billing@gum.example"),
    contact(8, "Holly Nurseries", FirstName="Hal", LastName="Holly", EmailAddress="hal@holly.example"),
    contact(9, "Holly Nurseries (old)", ContactStatus="ARCHIVED", Phones=phones(DEFAULT="01632 960099")),
    # Here alone: made in Salesforce.
    contact(
        30,
        "Yarrow  Supplies",
        FirstName="Yan",
        LastName="Yarrow",
        EmailAddress="Yan@yarrow.example",
        Phones=phones(DEFAULT="0113 496 0030"),
        Addresses=[address("POBOX", "30 Dock Rd", "Shed 4", **BOX), address("STREET", "Gate 2", City="Hull")],
    ),
    contact(31, "Zinnia GmbH", EmailAddress="rechnung@zinnia.example", TaxNumber="DE811569869"),
]  # fmt: skip

MADE_IN_SALESFORCE = 3  # two accounts and one person
MADE_IN_XERO = 2
