"""Products with their prices, and opportunities with their lines, in Salesforce's shape; and the Xero items.

The demo's stand here one by one; `made_up` makes any number by seed. Amounts are Decimal and add up as
Salesforce adds them: each line rounded to two places, half up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from sandbox.salesforce.ids import make_id
from sandbox.salesforce.org import STANDARD_PRICE_BOOK_ID
from sandbox.salesforce.sales import described, expecting, fiscal, sums, total_price
from sandbox.salesforce.stages import STAGES
from sandbox.seeds.books import Row, filled, xero_id

# code: name, family, standard price, our price, what it is, whether Xero has an item of this code
PRODUCTS: dict[str, tuple[str, str, str, str, str, bool]] = {
    "KIT-STD": ("Field kit, standard", "Kits", "259.00", "249.00", "Case, meter, two probes", True),
    "KIT-PRO": (
        "Field kit, professional",
        "Kits",
        "1250.00",
        "1195.00",
        "Case, two meters, six probes",
        True,
    ),
    "CAL-01": ("Calibration", "Services", "85.50", "85.50", "With certificate", True),
    "SVC-HR": ("Engineer, by the hour", "Services", "72.00", "72.00", "On site, travel included", True),
    "SVC-YR": ("Service contract, one year", "Services", "640.00", "640.00", "Two visits a year", False),
    "TRN-DAY": ("Training day", "Services", "950.00", "950.00", "On site, up to eight persons", True),
    "CBL-M": ("Cable, by the metre", "Parts", "1.45", "1.37", "Screened, four cores", True),
    "HOSE-M": ("Hose, by the metre", "Parts", "3.45", "3.45", "", False),
    "FREIGHT": ("Freight", "Other", "18.00", "18.00", "", True),
    # no longer sold, and its price is switched off
    "KIT-OLD": ("Field kit, old model", "Kits", "199.00", "199.00", "", False),
}
WITHDRAWN = ("KIT-OLD",)

Sold = tuple[str, str, str, str | None, str]  # code, quantity, unit price, discount in percent, description


@dataclass(frozen=True)
class Deal:
    """One opportunity as it is written down in a seed. amount: where there are no lines."""

    account: str
    name: str
    stage: str
    close_date: str
    sold: tuple[Sold, ...] = ()
    amount: str | None = None
    kind: str = "Existing Customer - Upgrade"
    next_step: str = ""


# Those won from November on, with lines, are what becomes invoices; the cut-over of the demo is 2026-11-01.
DEMO_DEALS = (
    Deal("edge", "Edge: field kits for the new depot", "Closed Won", "2026-11-05",
         (("KIT-STD", "4", "249.00", None, ""), ("CAL-01", "4", "85.50", None, "Before delivery"))),
    # fractions of a quantity and discounts: each line is rounded, then they are summed
    Deal("grand", "Grand Hotels: rewiring of two kitchens", "Closed Won", "2026-11-12",
         (("SVC-HR", "12.5", "72.00", "7.5", "Two engineers, 6¼ hours each"),
          ("CBL-M", "137.25", "1.37", "12.5", ""), ("FREIGHT", "1", "18.00", None, ""))),
    # an account that Xero has yet to meet
    Deal("larkfield", "Larkfield: starter set", "Closed Won", "2026-11-17",
         (("KIT-PRO", "1", "1195.00", None, ""), ("TRN-DAY", "1", "950.00", None, "In the workshop")),
         kind="New Customer"),
    # one of its products is no item in Xero
    Deal("boom", "Boom FM: studio service", "Closed Won", "2026-11-20",
         (("TRN-DAY", "2", "925.00", None, ""), ("SVC-YR", "1", "640.00", None, "From December 2026"))),
    # won before the cut-over: somebody made its invoice by hand
    Deal("pyramid", "Pyramid: kits for the site office", "Closed Won", "2026-10-30",
         (("KIT-STD", "10", "239.00", None, ""),)),
    # won without lines: nothing says what to bill
    Deal("uog", "United Oil & Gas: framework agreement", "Closed Won", "2026-11-18", amount="5000.00"),
    # the one that a person closes in the demo
    Deal("uog_uk", "United Oil & Gas UK: three rigs", "Negotiation/Review", "2026-12-15",
         (("KIT-PRO", "3", "1195.00", "10", ""), ("SVC-YR", "3", "640.00", None, "")),
         next_step="Signature by their board"),
    Deal("express", "Express Logistics: forklift sensors", "Proposal/Price Quote", "2027-01-22",
         (("KIT-STD", "6", "249.00", "5", ""), ("SVC-HR", "24", "72.00", None, ""))),
    Deal("genepoint", "GenePoint: laboratory move", "Value Proposition", "2027-02-10", amount="12000.00"),
    Deal("dickenson", "Dickenson: renewal", "Qualification", "2027-03-01"),
    Deal("burlington", "Burlington: loom monitoring", "Closed Lost", "2026-11-09",
         (("KIT-STD", "2", "249.00", None, ""),), next_step="They bought elsewhere"),
    Deal("port", "Port and Philip: hoses", "Needs Analysis", "2026-12-20",
         (("HOSE-M", "250.5", "3.45", None, ""), ("FREIGHT", "2", "18.00", None, ""))),
)  # fmt: skip


def demo_rows(accounts: Mapping[str, str]) -> list[Row]:
    """Products, prices and the demo's opportunities. accounts: key of the demo -> Id."""
    shop = price_list("Dm")
    rows = shop.rows()
    for at, deal in enumerate(DEMO_DEALS, 1):
        closed = deal.stage.startswith("Closed")
        changed = deal.close_date if closed else f"2026-10-{at + 10:02d}"
        rows += deal_rows(shop, at, deal, accounts[deal.account], f"{changed}T15:30:{at:02d}.000+0000")
    return rows


def items() -> list[Row]:
    """The Xero items, for the codes that Xero knows."""
    return [
        {
            "ItemID": xero_id(f"item {code}"),
            "Code": code,
            "Name": name,
            "Description": about or name,
            "IsSold": True,
            "IsPurchased": False,
            "IsTrackedAsInventory": False,
            "SalesDetails": {"UnitPrice": Decimal(price), "AccountCode": "200", "TaxType": "OUTPUT2"},
            "PurchaseDetails": {},
            "UpdatedDateUTC": "2025-09-01T09:00:00+00:00",
        }
        for code, (name, _, _, price, about, known) in PRODUCTS.items()
        if known
    ]


@dataclass(frozen=True)
class PriceList:
    """The products with both of their prices; pod: two letters in the ids, so that no two makers collide."""

    pod: str
    book: Row
    products: Mapping[str, Row]
    standard: Mapping[str, Row]
    ours: Mapping[str, Row]

    def rows(self) -> list[Row]:
        tables = (self.products, self.standard, self.ours)
        return [self.book, *(row for table in tables for row in table.values())]


def price_list(pod: str) -> PriceList:
    stamps = _stamps("2025-02-03T09:00:00.000+0000")
    book = {
        **_row("Pricebook2", "01s", pod, 1), "Name": "UK price list", "IsActive": True,
        "Description": "For customers in the United Kingdom", **stamps,
    }  # fmt: skip
    products: dict[str, Row] = {}
    standard: dict[str, Row] = {}
    ours: dict[str, Row] = {}
    for at, (code, (name, family, list_price, price, about, _)) in enumerate(PRODUCTS.items(), 1):
        active = code not in WITHDRAWN
        products[code] = filled(
            {
                **_row("Product2", "01t", pod, at), "Name": name, "ProductCode": code, "Family": family,
                "Description": about, "IsActive": active, **stamps,
            }
        )  # fmt: skip
        for table, book_id, amount, number in (
            (standard, STANDARD_PRICE_BOOK_ID, list_price, 2 * at - 1),
            (ours, book["Id"], price, 2 * at),
        ):
            table[code] = {
                **_row("PricebookEntry", "01u", pod, number), "Name": name, "ProductCode": code,
                "Pricebook2Id": book_id, "Product2Id": products[code]["Id"], "UnitPrice": Decimal(amount),
                "IsActive": active, **stamps,
            }  # fmt: skip
    return PriceList(pod, book, products, standard, ours)


def deal_rows(shop: PriceList, number: int, deal: Deal, account_id: str, stamp: str) -> list[Row]:
    """An opportunity and its lines. number: from 1; up to 40 lines each."""
    opportunity = filled(
        {
            **_row("Opportunity", "006", shop.pod, number), "Name": deal.name, "AccountId": account_id,
            "StageName": deal.stage, "CloseDate": deal.close_date, "Type": deal.kind,
            "NextStep": deal.next_step, "Pricebook2Id": shop.book["Id"], **STAGES[deal.stage]["gives"],
            **_stamps(stamp),
        }
    )  # fmt: skip
    lines = [
        _line(shop, number * 40 + at, opportunity, sold, at, stamp) for at, sold in enumerate(deal.sold, 1)
    ]
    if lines:
        opportunity |= sums(lines)
    elif deal.amount is not None:
        opportunity["Amount"] = Decimal(deal.amount)
    return [fiscal(expecting(opportunity)), *lines]


def _line(shop: PriceList, number: int, opportunity: Row, sold: Sold, order: int, stamp: str) -> Row:
    code, quantity, price, discount, about = sold
    line = {
        **_row("OpportunityLineItem", "00k", shop.pod, number), "OpportunityId": opportunity["Id"],
        "Quantity": Decimal(quantity), "UnitPrice": Decimal(price), "SortOrder": order, **_stamps(stamp),
    }  # fmt: skip
    if discount is not None:
        line["Discount"] = Decimal(discount)
    if about:
        line["Description"] = about
    line["TotalPrice"] = total_price(line)
    line["Subtotal"] = total_price({**line, "Discount": 0})
    return described(line, shop.ours[code], shop.products[code], opportunity)


def _row(kind: str, prefix: str, pod: str, number: int) -> Row:
    return {"attributes": {"type": kind}, "Id": make_id(prefix, pod, number)}


def _stamps(stamp: str) -> Row:
    return {"CreatedDate": stamp, "LastModifiedDate": stamp, "SystemModstamp": stamp}


# -- any number of them

FIRST_DAY = date(2026, 10, 1)
DAYS_CLOSED, DAYS_OPEN = 50, 120  # closed until 2026-11-19, open ones close by March
WON, LOST, WITHOUT_LINES = 0.6, 0.7, 0.05
DISCOUNTS = ("5", "7.5", "10", "12.5", "33.33")
OPEN_STAGES = tuple(name for name, one in STAGES.items() if not one["gives"]["IsClosed"])


def made_up(rng: Random, accounts: Sequence[Row], count: int) -> list[Row]:
    """Products, prices, and `count` opportunities of these accounts: six of ten won, one of twenty without lines."""
    shop = price_list("Gn")
    rows = shop.rows()
    codes = [code for code in PRODUCTS if code not in WITHDRAWN]
    for number in range(1, count + 1):
        account = accounts[rng.randrange(len(accounts))]
        deal, changed = _made_up_deal(rng, number, account, codes)
        stamp = f"{changed}T{8 + number % 10:02d}:{number % 60:02d}:{number // 60 % 60:02d}.000+0000"
        rows += deal_rows(shop, number, deal, account["Id"], stamp)
    return rows


def _made_up_deal(rng: Random, number: int, account: Row, codes: Sequence[str]) -> tuple[Deal, date]:
    """One deal, and the day on which it was last changed."""
    draw = rng.random()
    stage = "Closed Won" if draw < WON else "Closed Lost" if draw < LOST else rng.choice(OPEN_STAGES)
    changed = FIRST_DAY + timedelta(days=rng.randrange(DAYS_CLOSED))
    close_date = (
        changed if draw < LOST else FIRST_DAY + timedelta(days=DAYS_CLOSED + rng.randrange(DAYS_OPEN))
    )
    without = rng.random() < WITHOUT_LINES
    sold = () if without else tuple(_made_up_line(rng, codes) for _ in range(rng.choice((1, 1, 2, 2, 3, 5))))
    amount = f"{rng.randrange(10_000, 5_000_000) / 100:.2f}" if without else None
    name = f"{account['Name'][:80]} {number}"
    return Deal(account["Id"], name, stage, close_date.isoformat(), sold, amount, "New Customer"), changed


def _made_up_line(rng: Random, codes: Iterable[str]) -> Sold:
    code = rng.choice(tuple(codes))
    whole, fraction = rng.randint(1, 20), rng.choice(("", "", "", ".5", ".25", ".75", ".33"))
    price = Decimal(PRODUCTS[code][3])
    if rng.random() < 0.3:
        price = (price * rng.randint(80, 99)).quantize(Decimal(1)) / 100
    discount = rng.choice(DISCOUNTS) if rng.random() < 0.3 else None
    return code, f"{whole}{fraction}", f"{price:.2f}", discount, ""
