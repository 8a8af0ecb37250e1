"""The demo's two books: the companies of a new Developer Edition and of Xero's demo company, overlapping.

Restated in our own words from what both vendors show every new user. Streets, telephone numbers and e-mail
addresses are made up where they could be somebody's (those of the UK are from the ranges kept for drama).
A key that stands in both tables is one party; what is peculiar about it is said in its comment.
"""

from __future__ import annotations

from typing import Any

from sandbox.salesforce.ids import make_id
from sandbox.seeds import sales
from sandbox.seeds.books import LINE_BREAK, Books, Row, filled, party_link, person_link, xero_id

Address = tuple[str, str, str, str, str]  # street (| between lines), city, region, postal code, country

# key: name, phone, address, and other fields of the Account
ACCOUNTS: dict[str, tuple[str, str, Address | None, Row]] = {
    "edge": ("Edge Communications", "(512) 757-6000",
             ("312 Constitution Place", "Austin", "TX", "78767", "USA"),
             {"Type": "Customer - Direct", "Industry": "Electronics", "Fax": "(512) 757-9000",
              "AccountNumber": "CD451796", "Website": "www.edgecomm.example", "AnnualRevenue": 139000000.0}),
    "burlington": ("Burlington Textiles Corp of America", "(336) 222-7000",
                   ("525 S. Lexington Ave", "Burlington", "NC", "27215", "USA"),
                   {"Type": "Customer - Direct", "Industry": "Apparel", "Fax": "(336) 222-8000",
                    "AccountNumber": "CD656092"}),
    "pyramid": ("Pyramid Construction Inc.", "(014) 427-4427",
                ("2 Place Jussieu|Bâtiment C", "Paris", "", "75251", "France"),
                {"Type": "Customer - Channel", "Industry": "Construction", "AccountNumber": "CC213425"}),
    # linked already, in full agreement of both ids
    "dickenson": ("Dickenson plc", "(785) 241-6200",
                  ("1301 Hoch Drive", "Lawrence", "KS", "66045", "USA"),
                  {"Type": "Customer - Channel", "Industry": "Consulting", "AccountNumber": "CC634267",
                   "ExternalID__c": xero_id("dickenson")}),
    "grand": ("Grand Hotels & Resorts Ltd", "(312) 596-1000",
              ("2334 N. Michigan Avenue, Suite 1500", "Chicago", "IL", "60601", "USA"),
              {"Type": "Customer - Direct", "Industry": "Hospitality", "Fax": "(312) 596-1500",
               "AccountNumber": "CD439877", "Billing_Email__c": "accounts@grandhotels.example"}),
    "uog": ("United Oil & Gas Corp.", "(212) 842-5500",
            ("1301 Avenue of the Americas", "New York", "NY", "10019", "USA"),
            {"Type": "Customer - Direct", "Industry": "Energy", "Fax": "(212) 842-5501",
             "AccountNumber": "CD355118"}),
    "uog_uk": ("United Oil & Gas, UK", "+44 191 498 0203",
               ("Kings Park, 17th Avenue|Team Valley Trading Estate", "Gateshead", "Tyne and Wear",
                "NE11 0UY", "United Kingdom"),
               {"Type": "Customer - Direct", "Industry": "Energy", "AccountNumber": "CD355119-A"}),
    "uog_sg": ("United Oil & Gas, Singapore", "(650) 450-8810",
               ("9 Tagore Lane", "Singapore", "", "787472", "Singapore"),
               {"Type": "Prospect", "Industry": "Energy", "AccountNumber": "CD355120-B"}),
    "express": ("Express Logistics and Transport", "(503) 421-7800",
                ("620 SW 5th Avenue Suite 400", "Portland", "Oregon", "97204", "United States"),
                {"Type": "Customer - Channel", "Industry": "Transportation", "Fax": "(503) 421-7801",
                 "AccountNumber": "CC947211"}),
    "arizona": ("University of Arizona", "(520) 773-9050",
                ("888 N Euclid|Hallis Center, Room 501", "Tucson", "AZ", "85721", "United States"),
                {"Type": "Customer - Direct", "Industry": "Education", "AccountNumber": "CD736025"}),
    "genepoint": ("GenePoint", "(650) 867-3450",
                  ("345 Shoreline Park", "Mountain View", "CA", "94043", "USA"),
                  {"Type": "Customer - Channel", "Industry": "Biotechnology", "AccountNumber": "CC978213"}),
    "sforce": ("sForce", "(415) 901-7000",
               ("The Landmark @ One Market", "San Francisco", "CA", "94087", "US"), {}),
    "ridgeway": ("Ridgeway University", "0117 496 0144",
                 ("1 Ridgeway Walk", "Bristol", "", "BS8 1TH", "United Kingdom"),
                 {"Type": "Customer - Direct", "Industry": "Education", "Tax_Number__c": "GB 302 8841 66"}),
    # its id leads to a contact that was merged in Xero: the survivor is meant
    "boom": ("Boom FM", "020 7946 0310",
             ("Human Resources Department|270 Grace Street", "London", "", "W1F 9LD", "United Kingdom"),
             {"Type": "Customer - Direct", "Industry": "Media", "ExternalID__c": xero_id("boom_old")}),
    # only one half of the link stands: ExternalID__c here, no ContactNumber there
    "city": ("City Agency", "020 7946 0877",
             ("Level 3, 44 Wharf Road", "London", "", "N1 7GR", "UK"),
             {"Type": "Customer - Direct", "ExternalID__c": xero_id("city")}),
    "marine": ("Marine Systems", "023 9201 8140",
               ("Unit 5, The Old Boatyard|Ferry Road", "Southsea", "Hampshire", "PO4 9LY", "United Kingdom"),
               {"Type": "Customer - Direct"}),
    "hamilton": ("Hamilton Smith Limited", "0131 496 0456",
                 ("92 George Street", "Edinburgh", "", "EH2 3DF", "United Kingdom"),
                 {"Type": "Customer - Direct", "Company_Number__c": "SC184552"}),
    "bankwest": ("BankWest", "0113 496 0500",
                 ("Procurement Services|PO Box 1210", "Leeds", "", "LS1 4AP", "United Kingdom"),
                 {"Type": "Customer - Direct", "Industry": "Banking"}),
    "basket": ("Basket Case", "0161 496 0921", None, {"Type": "Customer - Channel", "Industry": "Retail"}),
    "young": ("Young Brothers Transport", "0121 496 0733",
              ("14-16 Canal Wharf", "Birmingham", "", "B1 2JB", "United Kingdom"),
              {"Type": "Customer - Direct", "Industry": "Transportation"}),
    "rex": ("Rex Media Group", "020 7946 0662",
            ("Rex House, 9 Dean Street", "London", "", "W1D 3RQ", "United Kingdom"),
            {"Type": "Customer - Direct", "Industry": "Media"}),
    # two of one name: only the town tells them apart
    "bayside": ("Bayside Club", "01202 496010",
                ("148 Bayside Parade", "Bournemouth", "Dorset", "BH5 1DA", "United Kingdom"),
                {"Type": "Customer - Direct", "Industry": "Recreation"}),
    "bayside_scarborough": ("Bayside Club", "01723 496550",
                            ("3 Esplanade", "Scarborough", "North Yorkshire", "YO11 2AA", "United Kingdom"),
                            {"Type": "Prospect", "Industry": "Recreation"}),
    "port": ("Port and Philip Freight", "01394 496240",
             ("Dock Gate 1|Carr Road", "Felixstowe", "Suffolk", "IP11 2XE", "United Kingdom"),
             {"Type": "Customer - Channel", "Industry": "Shipping"}),
    "abby": ("Abby and Wells", "01865 496118", ("12 Pembroke Court", "Oxford", "", "OX1 1BP", "England"),
             {"Type": "Other"}),
    "petrie": ("Petrie McLoud Watson & Assoc.", "020 7946 0184",
               ("Suite 3, 120 Fleet Street", "London", "", "EC4A 2BE", "United Kingdom"),
               {"Type": "Customer - Direct", "Industry": "Consulting", "Company_Number__c": "06182435"}),
    # here alone: a prospect, and two customers whom Xero has yet to meet
    "brightwater": ("Brightwater Ceramics", "01782 496321",
                    ("Kiln Yard, Longport", "Stoke-on-Trent", "", "ST6 4NB", "United Kingdom"),
                    {"Type": "Prospect", "Industry": "Manufacturing"}),
    "larkfield": ("Larkfield Joinery Ltd", "01622 496087",
                  ("Unit 2, Bellingham Way", "Aylesford", "Kent", "ME20 6SQ", "United Kingdom"),
                  {"Type": "Customer - Direct", "Industry": "Construction",
                   "Billing_Email__c": "accounts@larkfieldjoinery.example"}),
    "tern": ("Tern & Sons", "01736 496402", ("The Quay", "Newlyn", "Cornwall", "TR18 5HW", "United Kingdom"),
             {"Type": "Customer - Channel", "Industry": "Food & Beverage"}),
    # in the recycle bin: merged into marine, and deleted
    "marine_old": ("Marine Systems Ltd", "02392 018140", None, {"IsDeleted": True}),
    "harrow": ("Harrow Weald Prospects", "", None, {"Type": "Prospect", "IsDeleted": True}),
}  # fmt: skip

# account, first name, last name, title, e-mail, phone, whether it is the primary person of the Xero contact
PEOPLE: list[tuple[str, str, str, str, str, str, bool]] = [
    ("edge", "Rose", "Gonzalez", "SVP, Procurement", "rose@edgecomm.example", "(512) 757-6000", True),
    ("edge", "Sean", "Forbes", "CFO", "sean@edgecomm.example", "(512) 757-6000", False),
    ("burlington", "Jack", "Rogers", "VP, Facilities", "jrogers@burlington.example", "(336) 222-7000", True),
    ("pyramid", "Pat", "Stumuller", "SVP, Administration", "pat@pyramid.example", "(014) 427-4427", True),
    ("dickenson", "Andy", "Young", "SVP, Operations", "a_young@dickenson.example", "(785) 241-6200", True),
    ("grand", "Tim", "Barr", "SVP, Finance", "barr_tim@grandhotels.example", "(312) 596-1000", False),
    ("grand", "John", "Bond", "VP, Facilities", "bond_john@grandhotels.example", "(312) 596-1000", False),
    ("uog", "Lauren", "Boyle", "SVP, Technology", "lboyle@uog.example", "(212) 842-5500", True),
    ("uog", "Stella", "Pavlova", "SVP, Production", "spavlova@uog.example", "(212) 842-5500", False),
    ("uog", "Arthur", "Song", "CEO", "asong@uog.example", "(212) 842-5500", False),
    ("uog", "Avi", "Green", "CFO", "agreen@uog.example", "(212) 842-5500", False),
    ("uog_uk", "Ashley", "James", "VP, Finance", "ajames@uog.example", "+44 191 498 0203", True),
    ("uog_sg", "Liz", "D'Cruz", "VP, Production", "ldcruz@uog.example", "(650) 450-8810", False),
    ("uog_sg", "Tom", "Ripley", "Regional General Manager", "tripley@uog.example", "(650) 450-8810", False),
    ("express", "Babara", "Levy", "SVP, Operations", "b.levy@expressl-t.example", "(503) 421-7800", True),
    ("express", "Josh", "Davis", "Warehouse Director", "j.davis@expressl-t.example", "(503) 421-7800", False),
    ("arizona", "Jane", "Grey", "Dean of Administration", "jane_gray@uoa.example", "(520) 773-9050", True),
    ("genepoint", "Edna", "Frank", "VP, Technology", "efrank@genepoint.example", "(650) 867-3450", True),
    ("sforce", "Jake", "Llorrac", "", "", "(415) 901-7000", False),
    ("sforce", "Siddartha", "Nedaerk", "", "", "(415) 901-7000", False),
    ("ridgeway", "Carol", "Trent", "Bursar", "c.trent@ridgeway.example", "0117 496 0144", True),
    ("boom", "Marcus", "Oyelaran", "Station Manager", "marcus@boomfm.example", "020 7946 0310", True),
    ("city", "Eleanor", "Priddy", "Accounts Payable", "e.priddy@cityagency.example", "", True),
    ("marine", "Alan", "Fisk", "Owner", "alan@marinesystems.example", "", True),
    ("hamilton", "Morag", "Smith", "Partner", "morag.smith@hamiltonsmith.example", "0131 496 0456", True),
    ("basket", "Fiona", "Case", "Proprietor", "fiona.case@mailbox.example", "0161 496 0921", True),
    ("young", "Derek", "Young", "Director", "derek@youngbros.example", "", False),
    ("rex", "Priya", "Raman", "Finance Manager", "priya.raman@rexmedia.example", "", True),
    ("bayside", "Bob", "Partridge", "Club Secretary", "secretarybob@bsclub.example", "01202 496010", True),
    ("port", "Ingrid", "Halvorsen", "Freight Manager", "ingrid@portphilip.example", "", True),
    ("petrie", "Giles", "Watson", "Partner", "gwatson@petriemcloud.example", "020 7946 0184", False),
    ("larkfield", "Tamsin", "Lark", "Director", "tamsin@larkfieldjoinery.example", "01622 496087", False),
]  # fmt: skip

# key: name, phone (country, area, number), postal address, and other fields of the Contact
CONTACTS: dict[str, tuple[str, tuple[str, str, str] | None, Address | None, Row]] = {
    "edge": ("Edge Communications", ("1", "512", "7576000"),
             ("312 Constitution Place", "Austin", "TX", "78767", "USA"),
             {"FirstName": "Rose", "LastName": "Gonzalez", "EmailAddress": "rose@edgecomm.example",
              "AccountNumber": "CD451796", "IsCustomer": True}),
    # a shorter name, and it has moved
    "burlington": ("Burlington Textiles", ("1", "336", "222-7000"),
                   ("120 W Church Street", "Burlington", "NC", "27217", "USA"),
                   {"FirstName": "Jack", "LastName": "Rogers", "EmailAddress": "JRogers@Burlington.example",
                    "IsCustomer": True}),
    # a typing error
    "pyramid": ("Pyramid Constuction Inc", None, ("2 Place Jussieu|Bâtiment C", "Paris", "", "75251", "FR"),
                {"FirstName": "Pat", "LastName": "Stumuller", "EmailAddress": "pat@pyramid.example",
                 "IsCustomer": True}),
    "dickenson": ("Dickenson plc", ("1", "785", "2416200"),
                  ("1301 Hoch Drive", "Lawrence", "KS", "66045", "USA"),
                  {"FirstName": "Andy", "LastName": "Young", "EmailAddress": "a_young@dickenson.example",
                   "IsCustomer": True}),
    # no person, but the mailbox of a role
    "grand": ("Grand Hotels and Resorts Limited", ("", "312", "596 1000"),
              ("2334 N Michigan Ave|Suite 1500", "Chicago", "IL", "60601", "United States"),
              {"EmailAddress": "Accounts@grandhotels.example", "IsCustomer": True}),
    # ContactNumber holds a value of somebody else's, which must stay
    "uog": ("United Oil and Gas Corp", ("1", "212", "8425500"),
            ("1301 Avenue of the Americas", "New York", "NY", "10019", "USA"),
            {"FirstName": "Lauren", "LastName": "Boyle", "EmailAddress": "lboyle@uog.example",
             "ContactNumber": "UOG-001", "IsCustomer": True}),
    "uog_uk": ("United Oil & Gas (UK) Ltd", ("44", "191", "4980203"),
               ("Kings Park, 17th Avenue|Team Valley Trading Estate", "Gateshead", "", "NE11 0UY",
                "United Kingdom"),
               {"FirstName": "Ashley", "LastName": "James", "EmailAddress": "ajames@uog.example",
                "IsCustomer": True, "IsSupplier": True}),
    # known by the name it trades under; the person's name is spelled right here
    "express": ("ELT Freight (Express Logistics)", ("1", "503", "4217800"),
                ("620 SW 5th Ave, Suite 400", "Portland", "OR", "97204", "USA"),
                {"FirstName": "Barbara", "LastName": "Levy", "EmailAddress": "b.levy@expressl-t.example",
                 "IsCustomer": True}),
    "arizona": ("Univ. of Arizona", None, None,
                {"FirstName": "Jane", "LastName": "Grey", "EmailAddress": "jane_gray@uoa.example",
                 "IsCustomer": True, "ContactStatus": "ARCHIVED"}),
    # the other half of a link: ContactNumber here, no ExternalID__c there
    "genepoint": ("GenePoint Inc", ("", "", "650-867-3450"), None,
                  {"FirstName": "Edna", "LastName": "Frank", "EmailAddress": "efrank@genepoint.example",
                   "IsCustomer": True}),
    "ridgeway": ("Ridgeway University", ("44", "117", "496 0144"),
                 ("1 Ridgeway Walk", "Bristol", "", "BS8 1TH", "United Kingdom"),
                 {"FirstName": "Carol", "LastName": "Trent", "EmailAddress": "c.trent@ridgeway.example",
                  "TaxNumber": "GB302884166", "IsCustomer": True}),
    # no address yet: to be filled
    "boom": ("Boom FM", ("", "020", "79460310"), None,
             {"FirstName": "Marcus", "LastName": "Oyelaran", "EmailAddress": "marcus@boomfm.example",
              "IsCustomer": True}),
    "boom_old": ("Boom F.M.", None, None,
                 {"IsCustomer": True, "ContactStatus": "ARCHIVED", "MergedToContactID": xero_id("boom")}),
    "city": ("City Agency", ("", "020", "7946 0877"), ("L3, 44 Wharf Rd", "London", "", "N1 7GR", "UK"),
             {"FirstName": "Eleanor", "LastName": "Priddy", "EmailAddress": "e.priddy@cityagency.example",
              "IsCustomer": True}),
    # moved, and its ContactNumber leads to an account that was merged away in Salesforce
    "marine": ("Marine Systems", ("", "02392", "018140"),
               ("Slipway House|31 Harbour Way", "Gosport", "Hampshire", "PO12 1LQ", "United Kingdom"),
               {"FirstName": "Alan", "LastName": "Fisk", "EmailAddress": "alan@marinesystems.example",
                "IsCustomer": True}),
    "hamilton": ("Hamilton Smith Ltd", ("", "0131", "496 0457"),
                 ("92 George St", "Edinburgh", "", "EH2 3DF", ""),
                 {"FirstName": "Morag", "LastName": "Smith", "CompanyNumber": "SC184552",
                  "EmailAddress": "morag.smith@hamiltonsmith.example", "IsCustomer": True}),
    "bankwest": ("Bank West", ("", "0113", "4960500"),
                 ("Procurement Services|PO Box 1210", "Leeds", "", "LS1 4AP", "United Kingdom"),
                 {"EmailAddress": "ap@bankwest.example", "IsCustomer": True}),
    "basket": ("Basket Case", ("", "", "0161-496-0921"), ("22 Deansgate", "Manchester", "", "M3 1WH", ""),
               {"FirstName": "Fiona", "LastName": "Case", "EmailAddress": "fiona.case@mailbox.example",
                "IsCustomer": True}),
    "young": ("Young Bros Transport", ("", "0121", "4960733"),
              ("14-16 Canal Wharf", "Birmingham", "", "B1 2JB", "United Kingdom"),
              {"EmailAddress": "transport@youngbros.example", "IsCustomer": True, "IsSupplier": True}),
    # two of one name: the second is another company, in another town
    "rex": ("Rex Media Group", ("", "020", "79460662"),
            ("Rex House, 9 Dean Street", "London", "", "W1D 3RQ", "United Kingdom"),
            {"FirstName": "Priya", "LastName": "Raman", "EmailAddress": "priya.raman@rexmedia.example",
             "IsCustomer": True}),
    "rex_norwich": ("Rex Media Group Ltd", ("", "01603", "496210"),
                    ("48 St Giles Street", "Norwich", "Norfolk", "NR2 1LW", "United Kingdom"),
                    {"FirstName": "Colin", "LastName": "Rex", "EmailAddress": "colin@rexprint.example",
                     "IsSupplier": True}),
    "bayside": ("Bayside Club", ("", "01202", "496010"),
                ("148 Bayside Parade", "Bournemouth", "", "BH5 1DA", "United Kingdom"),
                {"FirstName": "Bob", "LastName": "Partridge", "EmailAddress": "secretarybob@bsclub.example",
                 "IsCustomer": True}),
    "port": ("Port & Philip Freight", ("", "01394", "496240"),
             ("Dock Gate 1, Carr Road", "Felixstowe", "", "IP11 2XE", "UK"),
             {"FirstName": "Ingrid", "LastName": "Halvorsen", "EmailAddress": "ingrid@portphilip.example",
              "IsCustomer": True}),
    "abby": ("Abby & Wells", None, ("12 Pembroke Crt", "Oxford", "", "OX1 1BP", "United Kingdom"),
             {"EmailAddress": "info@abbyandwells.example", "IsSupplier": True}),
    "petrie": ("Petrie McLoud Watson & Associates", ("", "020", "79460184"),
               ("120 Fleet Street|Suite 3", "London", "", "EC4A 2BE", "United Kingdom"),
               {"EmailAddress": "billing@petriemcloud.example", "CompanyNumber": "06182435",
                "IsCustomer": True}),
    # customers that only the ledger knows; the second is a person, not a company
    "diisr": ("DIISR - Small Business Services", ("", "0800", "496 0024"),
              ("GPO Box 9839", "London", "", "SW1H 0ET", "United Kingdom"),
              {"EmailAddress": "cad@diisr.example", "IsCustomer": True}),
    "whitlock": ("Hannah Whitlock", ("", "07700", "900318"),
                 ("7 Mill Lane", "Hebden Bridge", "West Yorkshire", "HX7 8AQ", "United Kingdom"),
                 {"FirstName": "Hannah", "LastName": "Whitlock", "IsCustomer": True,
                  "EmailAddress": "hannah.whitlock@mailbox.example"}),
    # suppliers that only the ledger knows
    "powerdirect": ("PowerDirect", ("", "0800", "496 0887"), ("PO Box 8900", "Solihull", "", "B90 4SS", ""),
                    {"EmailAddress": "billing@powerdirect.example", "IsSupplier": True}),
    "truxton": ("Truxton Property Management", ("", "020", "7946 0551"),
                ("81 Gower Street", "London", "", "WC1E 6HJ", "United Kingdom"),
                {"EmailAddress": "rents@truxton.example", "IsSupplier": True}),
    "smart": ("SMART Agency", ("", "020", "7946 0912"), None,
              {"EmailAddress": "hello@smartagency.example", "IsSupplier": True}),
    "netconnect": ("Net Connect", None, None,
                   {"EmailAddress": "accounts@netconnect.example", "IsSupplier": True}),
    "abc": ("ABC Furniture", ("", "0800", "496 0223"),
            ("ABC House|2 Foundry Lane", "Southampton", "", "SO15 3JH", ""),
            {"EmailAddress": "info@abcfurniture.example", "IsSupplier": True}),
    "capital": ("Capital Cab Co", ("", "020", "7946 0235"), None, {"IsSupplier": True}),
    "copiers": ("Central Copiers", ("", "0113", "4960099"), None,
                {"EmailAddress": "service@centralcopiers.example", "IsSupplier": True}),
    "swanston": ("Swanston Security", ("", "0131", "496 0800"), None, {"IsSupplier": True}),
    "mco": ("MCO Cleaning Services", None, None,
            {"EmailAddress": "info@mcocleaning.example", "IsSupplier": True, "ContactStatus": "ARCHIVED"}),
    "gateway": ("Gateway Motors", ("", "01604", "496340"), None,
                {"EmailAddress": "service@gatewaymotors.example", "IsSupplier": True}),
}  # fmt: skip

THEMES = ("Special Projects", "Very Orange Invoice")  # beside the one that every organisation has

# ContactNumber of a contact: the account that it leads to
NUMBERS = {"dickenson": "dickenson", "genepoint": "genepoint", "marine": "marine_old"}
MERGED = {"marine_old": "marine"}


def books() -> Books:
    """The demo's records and its true links."""
    accounts = {key: make_id("001", "Dm", at) for at, key in enumerate(ACCOUNTS, 1)}
    people = {(p[0], p[2]): make_id("003", "Dm", at) for at, p in enumerate(PEOPLE, 1)}
    salesforce = [_account(key, accounts, at) for at, key in enumerate(ACCOUNTS)]
    salesforce += [_person(row, accounts, people, at) for at, row in enumerate(PEOPLE)]
    salesforce += sales.demo_rows(accounts)
    xero = [_contact(key, accounts, at) for at, key in enumerate(CONTACTS)]
    xero += sales.items()
    xero += [
        {"BrandingThemeID": xero_id(name), "Name": name, "SortOrder": at} for at, name in enumerate(THEMES, 1)
    ]
    links = [party_link(accounts[key], xero_id(key)) for key in ACCOUNTS if key in CONTACTS]
    links += [person_link(people[p[0], p[2]], xero_id(p[0])) for p in PEOPLE if p[6]]
    return Books(salesforce, xero, links)


def _account(key: str, accounts: dict[str, str], at: int) -> Row:
    name, phone, address, other = ACCOUNTS[key]
    row = {
        "attributes": {"type": "Account"},
        "Id": accounts[key],
        "Name": name,
        "Phone": phone,
        **_billing(address),
        **other,
        **_salesforce_stamps(at),
    }
    if key in MERGED:
        row["MasterRecordId"] = accounts[MERGED[key]]
    return filled(row)


def _billing(address: Address | None) -> Row:
    if address is None:
        return {}
    names = ("BillingStreet", "BillingCity", "BillingState", "BillingPostalCode", "BillingCountry")
    return dict(zip(names, (address[0].replace("|", LINE_BREAK), *address[1:]), strict=True))


def _person(row: Any, accounts: dict[str, str], people: dict[tuple[str, str], str], at: int) -> Row:
    account, first, last, title, email, phone, _ = row
    return filled(
        {
            "attributes": {"type": "Contact"},
            "Id": people[account, last],
            "AccountId": accounts[account],
            "FirstName": first,
            "LastName": last,
            "Title": title,
            "Email": email,
            "Phone": phone,
            **_salesforce_stamps(at),
        }
    )


def _contact(key: str, accounts: dict[str, str], at: int) -> Row:
    name, phone, address, other = CONTACTS[key]
    row: Row = {
        "ContactID": xero_id(key),
        "Name": name,
        "ContactStatus": "ACTIVE",
        "IsCustomer": False,
        "IsSupplier": False,
        "UpdatedDateUTC": f"2025-0{at % 8 + 1}-{at % 27 + 1:02d}T1{at % 9}:20:{at:02d}+00:00",
        **other,
    }
    if key in NUMBERS:
        row["ContactNumber"] = accounts[NUMBERS[key]]
    if phone:
        pieces = dict(zip(("PhoneCountryCode", "PhoneAreaCode", "PhoneNumber"), phone, strict=True))
        row["Phones"] = [{"PhoneType": "DEFAULT", **pieces}]
    if address:
        row["Addresses"] = [{"AddressType": "POBOX", **postal(address)}]
    return row


def postal(address: Address) -> Row:
    """Xero's four lines and the rest of an address."""
    lines = dict(zip(("AddressLine1", "AddressLine2", "AddressLine3"), address[0].split("|"), strict=False))
    rest = dict(zip(("City", "Region", "PostalCode", "Country"), address[1:], strict=True))
    return filled(lines | rest)


def _salesforce_stamps(at: int) -> Row:
    moment = f"2025-0{at % 8 + 1}-{at % 27 + 1:02d}T1{at % 9}:40:{at:02d}.000+0000"
    return {"CreatedDate": moment, "LastModifiedDate": moment, "SystemModstamp": moment}
