"""What a mapping says, as frozen records: units, sides, entities, and the rules between them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from reconcile.bodies import SLOTS, top
from reconcile.kinds import KINDS, Lookup
from reconcile.model import SIDES
from reconcile.rules import compile_rule, rule_columns

if TYPE_CHECKING:
    from reconcile.codes import CodeRule
    from reconcile.infer import Enough

OTHER: Final = {"salesforce": "xero", "xero": "salesforce"}
# What each side tells of a record besides its units; rules and projections may use it.
ATTRIBUTES: Final = {
    "salesforce": ("status", "reference"),
    "xero": ("status", "reference", "is_customer", "is_supplier"),
}
PROJECTED: Final = {
    "is_customer": "boolean", "is_supplier": "boolean", "status": "text", "groups": "text",
    "quantity_on_hand": "number",
}  # fmt: skip
OF_ITEMS: Final = frozenset({"quantity_on_hand"})  # what only a product's projection may show

# Part -> whole. A part has no record of its own in Xero: its id there is the whole's with a suffix.
WHOLE_OF: Final = {"person": "party", "price": "product"}
ITEMS: Final = ("product", "price")  # the entities that are an Item in Xero
# What must be read of every record, whatever the mapping names.
IN_SALESFORCE: Final = ("Id", "IsDeleted", "SystemModstamp", "LastModifiedById")
CONTACT: Final = (
    "ContactID", "ContactStatus", "MergedToContactID", "UpdatedDateUTC", "IsCustomer", "IsSupplier", "FirstName",
    "LastName",
)  # fmt: skip
ITEM: Final = ("ItemID", "Code", "UpdatedDateUTC", "IsSold", "IsPurchased")
CONTACT_GROUPS: Final = "ContactGroups"  # read where a projection shows them
MEMBERSHIP: Final = "membership"  # an entity: that a contact is in a group; known as "group/contact"
GROUP_OBJECT: Final = "ContactGroup"  # of Xero; by its id alone it tells who is in it
GROUP_FIELDS: Final = ("ContactGroupID", "Name", "Status", "Contacts")
STOCK: Final = "QuantityOnHand"
STOCK_FIELDS: Final = ("IsTrackedAsInventory", STOCK)  # read where a projection shows them
SHARED_EMAIL: Final = "EmailAddress"  # Xero has one for the party and its primary person
PARENT: Final = {("person", "salesforce"): "AccountId", ("price", "salesforce"): "Product2Id"}
# A field of these is written with all of its group: whether Xero keeps what is left out is unconfirmed.
# By the flag that says whether an item has the group at all (spec: a false one empties it).
DETAILS: Final = {
    "IsSold": ("SalesDetails", "Description"),
    "IsPurchased": ("PurchaseDetails", "PurchaseDescription"),
}
GROUPS: Final = frozenset({"SalesDetails", "PurchaseDetails"})

# Which entries of a price book are a product's price: those of the mapped book in the organisation's currency.
PRICE_BOOK: Final = ("Id", "IsDeleted", "SystemModstamp", "LastModifiedById", "Name", "IsStandard")
PRICE_FIELDS: Final = ("Pricebook2Id", "Product2Id")
CURRENCY: Final = "CurrencyIsoCode"  # is there in an org of several currencies only


@dataclass(frozen=True)
class SourceObject:
    """What an object of Salesforce that is invoiced calls its parts. Source: the object reference, v67.0."""

    word: str  # for a person
    closed: str  # for a person: what it is once it is to be invoiced
    prefix: str  # of its ids
    lines: str  # the object of its lines
    parent: str  # the field of a line that names its header
    stage: str  # the field that `stages` speaks of
    is_won: str  # a flag that is true, or a text that is ACTIVATED, once it is to be invoiced
    amount: str
    place: str  # the field that orders its lines
    reduces: str | None  # a flag: it takes back what another one sold
    takes_from: str | None  # of such a one's line: the line that it takes from
    original: str | None  # of such a one: the header that it takes from
    named_by_product: bool  # whether code and name of a line's product have to be looked up
    came_from: str | None  # the field that names the sale of another object that it came from
    names: tuple[str, ...]  # fields of what people call it, of which the first that is filled counts

    @property
    def fields(self) -> frozenset[str]:
        """What is read of a header, besides the fields that the mapping names."""
        named = {self.is_won, self.stage, "AccountId", self.amount, *self.names}
        return frozenset(named | {*filter(None, [self.reduces, self.original])} | {*IN_SALESFORCE})

    @property
    def line_fields(self) -> frozenset[str]:
        """What is read of a line."""
        told = {"Product2Id"} if self.named_by_product else {"Name", "ProductCode"}
        return frozenset(
            {*IN_SALESFORCE, self.parent, "Quantity", "UnitPrice", "Description", self.place}
            | {*filter(None, [self.takes_from])}
            | told
        )


ACTIVATED: Final = "Activated"
SOURCE_OBJECTS: Final = {
    "Opportunity": SourceObject(
        word="opportunity",
        closed="won",
        prefix="006",
        lines="OpportunityLineItem",
        parent="OpportunityId",
        stage="StageName",
        is_won="IsWon",
        amount="Amount",
        place="SortOrder",
        reduces=None,
        takes_from=None,
        original=None,
        named_by_product=False,
        came_from=None,
        names=("Name",),
    ),
    "Order": SourceObject(
        word="order",
        closed="activated",
        prefix="801",
        lines="OrderItem",
        parent="OrderId",
        stage="Status",
        is_won="StatusCode",
        amount="TotalAmount",
        place="OrderItemNumber",
        reduces="IsReductionOrder",
        takes_from="OriginalOrderItemId",
        original="OriginalOrderId",
        named_by_product=True,
        came_from="OpportunityId",
        names=("Name", "OrderNumber"),
    ),
}
# What names a line whose own object does not.
PRODUCT_NAMES: Final = (*IN_SALESFORCE, "Name", "ProductCode")
INVOICE: Final = (
    "InvoiceID", "Type", "Status", "InvoiceNumber", "Reference", "Contact.ContactID", "CurrencyCode",
    "SubTotal", "TotalTax", "Total", "UpdatedDateUTC",
)  # fmt: skip
# Read where the mapping names one.
BRANDING_THEME: Final = ("BrandingThemeID", "Name")
TRACKING_CATEGORY: Final = ("TrackingCategoryID", "Name", "Status", "Options")
REFERENCE_DATA: Final = {
    "Account": ("AccountID", "Code", "Status", "Type", "TaxType", "SystemAccount"),
    "Item": ("ItemID", "Code", "IsSold"),
    "TaxRate": ("TaxType", "Status", "EffectiveRate", "CanApplyToRevenue", "CanApplyToLiabilities"),
    "Organisation": ("OrganisationID", "BaseCurrency", "Timezone", "PeriodLockDate", "EndOfYearLockDate"),
}
# Read where bills are made.
BILLED_BY: Final = {
    "Bill": (
        "InvoiceID", "Status", "InvoiceNumber", "Contact.ContactID", "CurrencyCode", "SubTotal", "Total", "Date",
    ),
    "Account": REFERENCE_DATA["Account"],
    "TaxRate": ("TaxType", "Status", "CanApplyToExpenses"),
    "Organisation": REFERENCE_DATA["Organisation"],
}  # fmt: skip
# And where an invoice follows its source.
MOVES_READ: Final = {
    "Invoice": ("Date", "DueDate", "LineAmountTypes", "AmountPaid", "AmountCredited", "LineItems"),
}
# Read where the mapping says what becomes of currencies: what the organisation has, and rates of Salesforce.
CURRENCY_LIST: Final = {"Currency": ("Code",)}
PRODUCT: Final = ("Product2", "Product2Id")  # what a line is of, and the line's field that names it
ACCOUNT: Final = ("Account", "AccountId")
RATE_LISTS: Final = {
    "salesforce": {"CurrencyType": ("Id", "IsoCode", "ConversionRate", "IsCorporate")},
    "salesforce_dated": {
        "CurrencyType": ("Id", "IsoCode", "ConversionRate", "IsCorporate"),
        "DatedConversionRate": ("Id", "IsoCode", "ConversionRate", "StartDate", "NextStartDate"),
    },
}


@dataclass(frozen=True)
class Rule:
    """An expression of the mapping, with the place where it stands."""

    sql: str
    at: str

    @cached_property
    def expression(self) -> pl.Expr:
        return compile_rule(self.sql, at=self.at)

    @cached_property
    def columns(self) -> frozenset[str]:
        return rule_columns(self.sql, at=self.at)


@dataclass(frozen=True)
class Unit:
    """Fields of both sides that hold one value and merge whole."""

    name: str
    kind: str
    salesforce: tuple[str, ...]  # fields, in the order of the kind's parts
    xero: tuple[str, ...]  # paths as the mapping names them: ("Phones.DEFAULT",), ("FirstName", "LastName")
    flows: str
    owner: str | None = None
    conflict: str = "ask"
    drift: str = "report"
    fill: bool = True
    at: str = ""
    lookup: Lookup | None = None

    def receives(self, side: str) -> bool:
        return self.flows in ("both", f"to_{side}")

    def paths(self, side: str) -> tuple[str, ...]:
        return self.salesforce if side == "salesforce" else self.xero

    def parts(self, side: str) -> dict[str, str]:
        """Part of the kind -> path of the field that holds it."""
        return dict(parts_of(self.kind, side, self.paths(side)))

    def leaves(self, side: str) -> tuple[str, ...]:
        return tuple(self.parts(side).values())

    @property
    def line(self) -> int:
        return int(self.at.partition(": ")[0].rpartition(":")[2] or 0)

    @property
    def winner(self) -> str | None:
        """The side that wins a conflict by policy; null: a person is asked."""
        if self.conflict == "owner":
            return self.owner
        return self.conflict if self.conflict in SIDES else None


@dataclass(frozen=True)
class Projection:
    """A field of Salesforce that shows what Xero knows; it is set, never merged."""

    name: str
    salesforce: str
    from_: str
    at: str = ""

    @property
    def kind(self) -> str:
        return PROJECTED[self.from_]

    @property
    def unit(self) -> Unit:
        fields = ((self.salesforce,), (self.from_,))
        return Unit(
            self.name, self.kind, *fields, flows="to_salesforce", owner="xero", drift="heal", at=self.at
        )


@dataclass(frozen=True)
class SideMapping:
    """What of one system belongs to an entity."""

    object: str
    scope: Rule | None = None
    reference: str | None = None  # the field that holds the other side's id
    price_book: str | None = None  # of a price: the book's name; null: the standard one
    defaults: MappingOf[str, Any] = field(default_factory=dict)  # of new records: field -> JSON value
    at: str = ""


@dataclass(frozen=True)
class GroupMapping:
    """Which field of Salesforce says in which contact groups of Xero a contact is to be."""

    salesforce: str  # the field: names, separated by ;
    among: tuple[str, ...]  # the groups that are ours to add to and take out of; all others are left alone
    remove: str  # always: a contact leaves a group that the field does not name; never
    at: str = field(default="", compare=False)


@dataclass(frozen=True)
class EntityMapping:
    """How one entity is kept in agreement."""

    entity: str
    salesforce: SideMapping
    xero: SideMapping
    create: MappingOf[str, str]
    create_when: MappingOf[str, Rule | None]  # over the record on the other side, from which one is made here
    delete: str
    units: tuple[Unit, ...]
    projections: tuple[Projection, ...]
    at: str = ""
    groups: GroupMapping | None = None  # of a party; null: nobody is put into a contact group

    def side(self, side: str) -> SideMapping:
        return self.salesforce if side == "salesforce" else self.xero

    def unit(self, name: str) -> Unit:
        """Give a unit, a projection as a unit, or "reference": the fields that hold the other side's id."""
        return self._by_name[name]

    def has_unit(self, name: str) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Unit]:
        named = {unit.name: unit for unit in self.units}
        named |= {projection.name: projection.unit for projection in self.projections}
        fields = [(side.reference,) if side.reference else () for side in (self.salesforce, self.xero)]
        return named | {"reference": Unit("reference", "text", *fields, flows="both", at=self.at)}

    def rules(self, side: str) -> tuple[Rule, ...]:
        """The rules that look at a record of this side."""
        return tuple(rule for rule in (self.side(side).scope, self.create_when[OTHER[side]]) if rule)

    def fields(self, side: str) -> frozenset[str]:
        """Every field that must be read of this side's object."""
        names = set(self._system(side)) | {path for unit in self.units for path in unit.leaves(side)}
        names |= {name for rule in self.rules(side) for name in rule.columns if is_field(name)}
        names |= {projection.salesforce for projection in self.projections if side == "salesforce"}
        names |= {PARENT[key] for key in [(self.entity, side)] if key in PARENT}
        names |= {self.groups.salesforce} if self.groups and side == "salesforce" else set()
        return frozenset(names | {name for name in [self.side(side).reference] if name})

    def _system(self, side: str) -> tuple[str, ...]:
        if side == "xero" and self.is_item:
            return (*ITEM, *(STOCK_FIELDS if self.shows_stock else ()))
        if side == "xero":
            return (*CONTACT, *((CONTACT_GROUPS,) if self.shows_groups else ()))
        merged = () if self.is_item else ("MasterRecordId",)  # products can't be merged
        return (*IN_SALESFORCE, *merged, *(PRICE_FIELDS if self.entity == "price" else ()))

    @property
    def is_item(self) -> bool:
        """Whether it is an Item in Xero, and no Contact."""
        return self.entity in ITEMS

    @property
    def shows_stock(self) -> bool:
        return any(projection.from_ == "quantity_on_hand" for projection in self.projections)

    @property
    def shows_groups(self) -> bool:
        return any(projection.from_ == "groups" for projection in self.projections)

    @property
    def code_unit(self) -> Unit:
        """The unit by which a product is found again in Xero."""
        return next(unit for unit in self.units if unit.kind == "item_code")

    def is_part(self, side: str) -> bool:
        """Whether it has no record of its own on that side."""
        return side == "xero" and self.entity in WHOLE_OF

    def id_field(self, side: str) -> str:
        return "Id" if side == "salesforce" else ("ItemID" if self.is_item else "ContactID")


@dataclass(frozen=True)
class Numbering:
    """How an invoice is named, and found again.

    derived: prefix and the opportunity's id. reserved: prefix and the next number of a sequence. xero: Xero
    numbers it, and its Reference carries prefix and id.
    """

    kind: str
    prefix: str
    digits: int  # of a reserved number, filled with zeros

    @property
    def key_field(self) -> str:
        """The field of Xero by which the invoice is found again."""
        return "Reference" if self.kind == "xero" else "InvoiceNumber"


@dataclass(frozen=True)
class DocumentLink:
    """The fields of the opportunity that show its invoice; null: not shown."""

    id: str
    number: str | None
    status: str | None
    url: str | None

    @property
    def fields(self) -> dict[str, str]:
        """What is shown -> the field that shows it."""
        named = {"id": self.id, "number": self.number, "status": self.status, "url": self.url}
        return {name: field for name, field in named.items() if field is not None}


@dataclass(frozen=True)
class Track:
    """A tracking category of Xero, and the field whose value names its option."""

    category: str
    field: str
    of_line: bool  # a field of the line; else of the header, and for all its lines


@dataclass(frozen=True)
class Infer:
    """How codes are inferred from what the books did before."""

    enough: Enough
    history_days: int  # how old a past line may be
    undecided: str  # ask, default: what becomes of a line on which past bookings don't decide


@dataclass(frozen=True)
class LineCodes:
    """What gives lines their account and tax, besides the mapping's own.

    columns: name -> object and field of Salesforce, of what rules and past bookings go by and no built-in is.
    """

    rules: tuple[CodeRule, ...]
    columns: MappingOf[str, tuple[str, str]]
    infer: Infer | None  # null: nothing is inferred

    @property
    def read(self) -> frozenset[str]:
        """The names that rules and past bookings read."""
        conditions = [one for rule in self.rules for one in (rule.when, rule.hold) if one]
        named = {name for one in conditions for name in one.columns}
        return frozenset(named | ({"family", "region"} if self.infer else set()))

    @property
    def used(self) -> dict[str, tuple[str, str]]:
        """The columns that are read: name -> object and field."""
        return {name: place for name, place in self.columns.items() if name in self.read}

    def fields(self, object_name: str) -> frozenset[str]:
        """The fields of an object of Salesforce that are read, besides those that rules name themselves."""
        return frozenset(field for where, field in self.used.values() if where == object_name)


@dataclass(frozen=True)
class Currencies:
    """Where a document's rate comes from, and what becomes of a currency that the organisation lacks."""

    rates: str  # xero, salesforce, salesforce_dated, table, service
    table: tuple[
        tuple[str, date, Decimal], ...
    ]  # currency, first day, units of it for one of the organisation's
    lacking: str  # stop, convert
    service: str = ""  # the name of the service, of rates: service
    at: str = field(default="", compare=False)  # where the mapping names it


@dataclass(frozen=True)
class PaymentMapping:
    """Which records of Salesforce say that money was taken for an invoice, and how Xero records it."""

    salesforce: str  # the object; where it is the invoiced one, a record is its own source
    source: str | None  # the field that names what was invoiced; null: the record itself
    amount: str
    date: str
    currency: str | None  # the field of the currency; null: it is the invoice's
    scope: Rule | None
    cut_over: date  # what was taken before it stays the past
    account: str  # of Xero, by its code or its name
    prefix: str  # of the Reference, before the record's id
    link: MappingOf[str, str]  # what is shown of it (id, status) -> the field that shows it
    at: str

    @property
    def fields(self) -> frozenset[str]:
        """What is read of a record."""
        named = {self.source, self.amount, self.date, self.currency, *self.link.values()} - {None}
        ruled = self.scope.columns if self.scope else frozenset[str]()
        return frozenset({*IN_SALESFORCE, "Name", *filter(None, named), *ruled})


@dataclass(frozen=True)
class PartOf:
    """A part in which a sale is billed."""

    name: str
    share: Decimal | None  # percent of each line; null, of the last one: what is left
    days: int = 0  # after the sale's date, beside the months
    months: int = 0


@dataclass(frozen=True)
class Instalments:
    """How sales are billed in parts: a deposit and the rest, or several instalments."""

    when: Rule | None  # for which; null: for all
    parts: tuple[PartOf, ...]

    def frame(self) -> pl.DataFrame:
        """Give part (from 1), part_name, up_to (of one, with those before it), is_last, days and months."""
        shares = [one.share or Decimal(0) for one in self.parts]
        last = len(self.parts)
        rows = {
            "part": [*range(1, last + 1)],
            "part_name": [one.name for one in self.parts],
            "up_to": [sum(shares[:n], Decimal(0)) / 100 for n in range(1, last + 1)],
            "is_last": [n == last for n in range(1, last + 1)],
            "days": [one.days for one in self.parts],
            "months": [one.months for one in self.parts],
        }
        return pl.DataFrame(rows, schema_overrides={"up_to": pl.Decimal(38, 8)})


@dataclass(frozen=True)
class Together:
    """Which sales are billed together: all of an account, a month and a currency."""

    when: Rule | None  # null: all


@dataclass(frozen=True)
class BillMapping:
    """Which records of Salesforce are bills of suppliers, and of what form each is in Xero."""

    salesforce: str  # the object
    supplier: str  # the field that names the Account from whose contact the bill is
    amount: str
    date: str
    due: str | None  # fields, each null where none is named
    number: str | None  # the supplier's own
    description: str  # of the one line
    currency: str | None  # null: the organisation's
    line_amounts: str  # exclusive, inclusive, no_tax: what the amount is
    scope: Rule | None
    cut_over: date  # what is dated before it stays the past
    account: str  # of Xero, by its code
    tax: str | None  # the TaxType; null: the account's own
    status: str  # DRAFT, SUBMITTED
    prefix: str  # of the key in the bill's number, before the record's id
    link: MappingOf[str, str]  # what is shown of it (id, status) -> the field that shows it
    at: str

    def fields(self, side: str) -> dict[str, frozenset[str]]:
        """Object -> every field that is read of that side for bills."""
        if side == "xero":
            lists = {**BILLED_BY, **(CURRENCY_LIST if self.currency else {})}
            return {name: frozenset(names) for name, names in lists.items()}
        named = {
            self.supplier,
            self.amount,
            self.date,
            self.due,
            self.number,
            self.description,
            self.currency,
        }
        ruled = self.scope.columns if self.scope else frozenset[str]()
        read = {*IN_SALESFORCE, "Name", *filter(None, named), *ruled, *self.link.values()}
        return {self.salesforce: frozenset(read)}


@dataclass(frozen=True)
class DocumentMapping:
    """How a won opportunity becomes an invoice."""

    salesforce: str  # the object of the header
    lines: str  # the object of its lines
    scope: Rule | None
    stages: tuple[str, ...] | None  # null: every stage that is won
    xero: str
    date: str  # the field that decides the cut-over, and is the invoice's date
    cut_over: date | None  # null: no invoices are made
    status: tuple[tuple[Rule | None, str], ...]  # the first rule that holds decides; null: always
    number: Numbering
    due_days: int | None  # after the date; null: as Xero has it by default
    reference: str | None  # the field whose text is the invoice's Reference
    amount: str  # what the opportunity's Amount must equal: subtotal, total, ignore
    line_amounts: str  # exclusive, inclusive, no_tax
    account: str | None  # the ledger account's code of every line
    tax: str | None  # the TaxType of every line; null: the account's own
    items: str  # known: ItemCode where Xero has an item of the product's code; on_demand: made of it; never
    link: DocumentLink
    by_terms: bool = False  # due by the contact's terms, and only without them by due_days
    branding: str | None = None  # the name of a branding theme; null: Xero's default
    tracking: tuple[Track, ...] = ()
    options: str = "known"  # of tracking: known (a name that Xero has not stops its invoice), on_demand: made
    locked: str = "stop"  # what is dated into a locked period: stop, or move to the first open day
    changes: str = "report"  # what becomes of an invoice whose source changed: report (told), move
    withdraw: str = "ask"  # the draft of a lost or deleted source: ask, void (deleted without asking)
    credits: str = "told"  # draft: what an approved invoice claims too much is made a credit note, on a yes
    settled: str = "off"  # read: what settles invoices is read; shown: Salesforce shows it, too
    at: str = ""
    codes: LineCodes | None = None  # null: every line has the account and tax above
    currencies: Currencies | None = None  # null: Xero's rate, and Xero refuses a currency that it lacks
    payments: PaymentMapping | None = None  # null: no payment is recorded in Xero
    path: str = "documents.invoice"  # in the mapping
    instalments: Instalments | None = None  # null: a sale is billed at once
    together: Together | None = None  # null: each sale is billed alone
    also: tuple[DocumentMapping, ...] = ()  # other objects whose records become invoices of this kind, too
    is_one_of_several: bool = False  # whether others do: what came from one of theirs is invoiced once

    @property
    def source(self) -> SourceObject:
        """What the object that is invoiced calls its parts."""
        return SOURCE_OBJECTS[self.salesforce]

    @property
    def sources(self) -> tuple[DocumentMapping, ...]:
        """How each object is read whose records become invoices, this one's own first."""
        return (self, *self.also)

    def of(self, record_id: str) -> DocumentMapping:
        """Give how the object of a record is read; what its id does not tell is this one's own."""
        return next((one for one in self.also if record_id.startswith(one.source.prefix)), self)

    def word(self, record_id: str = "record_id") -> pl.Expr:
        """What a person calls the record that is named in a column."""
        return self._told({one.salesforce: one.source.word for one in self.sources}, record_id)

    def object(self, record_id: str = "record_id") -> pl.Expr:
        """The object of Salesforce of the record that is named in a column."""
        return self._told({one.salesforce: one.salesforce for one in self.sources}, record_id)

    def _told(self, of: MappingOf[str, str], record_id: str) -> pl.Expr:
        if not self.also:
            return pl.lit(of[self.salesforce])
        prefixed = {one.source.prefix: of[one.salesforce] for one in self.sources}
        prefix = pl.col(record_id).str.slice(0, 3)
        return prefix.replace_strict(prefixed, default=of[self.salesforce], return_dtype=pl.String)

    @property
    def ids(self) -> str:
        """A pattern of the ids, as they stand in numbers, of all that is invoiced; without regard to case."""
        prefixes = "|".join(one.source.prefix for one in self.sources)
        return (
            rf"(?:(?:{prefixes})[a-zA-Z0-9]{{15}}(?:-P[1-9])?|001[a-zA-Z0-9]{{15}}-M[0-9]{{6}}[a-zA-Z]{{3}})"
        )

    @property
    def bills_later(self) -> bool:
        """Whether some of it is billed on another day than that of its sale."""
        return any(one.instalments is not None or one.together is not None for one in self.sources)

    @property
    def moves(self) -> bool:
        """Whether an invoice follows its source once it is made."""
        return self.changes == "move"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that look at an opportunity."""
        forms = [one.when for one in (self.instalments, self.together) if one is not None]
        return tuple(rule for rule in (self.scope, *(when for when, _ in self.status), *forms) if rule)

    @property
    def form(self) -> pl.Expr:
        """How a sale is billed by this mapping (DOCUMENTS): takes the fields that its rules name."""
        found = pl.lit(None, pl.String)
        # Parts last: what their rule holds for is not billed together.
        for name, how in (("together", self.together), ("parts", self.instalments)):
            if how is not None:
                holds = pl.lit(True) if how.when is None else how.when.expression.fill_null(False)
                found = pl.when(holds).then(pl.lit(name)).otherwise(found)
        return found

    @property
    def objects(self) -> tuple[str, ...]:
        """All that invoices are made of, as "side.object"."""
        return tuple(f"{side}.{name}" for side in SIDES for name in self.fields(side))

    def fields(self, side: str) -> dict[str, frozenset[str]]:
        """Object -> every field that is read of that side."""
        return _together(*(one.own_fields(side) for one in self.sources))

    def own_fields(self, side: str) -> dict[str, frozenset[str]]:
        """Object -> every field that is read of that side for this object's records alone."""
        if side == "xero":
            read = {self.xero: INVOICE, **REFERENCE_DATA, **(CURRENCY_LIST if self.currencies else {})}
            read |= {"BrandingTheme": BRANDING_THEME} if self.branding else {}
            read |= {"TrackingCategory": TRACKING_CATEGORY} if self.tracking else {}
            more = MOVES_READ if self.moves else {}
            return {name: frozenset((*names, *more.get(name, ()))) for name, names in read.items()}
        header = {*self.source.fields, self.date, *self.link.fields.values()}
        header |= {name for name in [self.reference] if name}
        header |= {track.field for track in self.tracking if not track.of_line}
        header |= {name for rule in self.rules for name in rule.columns}
        header |= {self.source.came_from} if self.is_one_of_several and self.source.came_from else set()
        product = {"Product2Id"} if self.items == "on_demand" else set[str]()
        named = {"Product2": frozenset(PRODUCT_NAMES)} if self.source.named_by_product else {}
        product |= {track.field for track in self.tracking if track.of_line}
        read = {self.salesforce: frozenset(header), self.lines: self.source.line_fields | product, **named}
        return _together(read, self._code_fields(), self._rate_fields())

    def _code_fields(self) -> dict[str, frozenset[str]]:
        """What is read for rules and past bookings."""
        if self.codes is None:
            return {}
        by_rule = frozenset(filter(is_field, self.codes.read))
        (product, product_id), (account, _) = PRODUCT, ACCOUNT
        of_product, of_account = self.codes.fields(product), self.codes.fields(account)
        return {
            self.salesforce: by_rule | self.codes.fields(self.salesforce),
            self.lines: self.codes.fields(self.lines) | ({product_id} if of_product else set()),
            **({product: of_product | {*IN_SALESFORCE, "ProductCode"}} if of_product else {}),
            **({account: of_account | {*IN_SALESFORCE}} if of_account else {}),
        }

    def _rate_fields(self) -> dict[str, frozenset[str]]:
        lists = RATE_LISTS.get(self.currencies.rates, {}) if self.currencies else {}
        return {name: frozenset(names) for name, names in lists.items()}


def _together(*read: MappingOf[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    names = dict.fromkeys(name for one in read for name in one)
    return {name: frozenset().union(*(one.get(name, ()) for one in read)) for name in names}


@dataclass(frozen=True)
class Mapping:
    """A whole mapping. `hash` changes with its meaning only, not with comments, order or `extends`."""

    name: str
    hash: str
    entities: MappingOf[str, EntityMapping]
    documents: MappingOf[str, DocumentMapping] = field(default_factory=dict)
    bill: BillMapping | None = None  # null: no bill is made in Xero

    @property
    def invoice(self) -> DocumentMapping | None:
        """How invoices are made; null where none are."""
        found = self.documents.get("invoice")
        return found if found is not None and found.cut_over is not None else None

    @property
    def settling(self) -> DocumentMapping | None:
        """How invoices are made, where what settles them is read; null where it is not."""
        return self.invoice if self.invoice is not None and self.invoice.settled != "off" else None

    @property
    def payments(self) -> PaymentMapping | None:
        """How money that was taken in Salesforce is recorded; null where it is not."""
        return self.invoice.payments if self.invoice is not None else None

    @property
    def groups(self) -> GroupMapping | None:
        """How contacts are put into contact groups; null where they are not."""
        return self.entities["party"].groups if "party" in self.entities else None

    def pulled(self, side: str) -> dict[str, frozenset[str]]:
        """Object -> every field that a pull brings: those of `fields`, and what settles invoices."""
        wanted = self.fields(side)
        for name, fields in (settling_fields(self.settling, side) if self.settling else {}).items():
            wanted[name] = wanted.get(name, frozenset()) | fields
        return wanted

    def fields(self, side: str) -> dict[str, frozenset[str]]:
        """Object -> every field that must be read for that side."""
        wanted: dict[str, frozenset[str]] = {}
        for entity in self.entities.values():
            name = entity.side(side).object
            wanted[name] = wanted.get(name, frozenset()) | entity.fields(side)
        for name, fields in (PRICED_BY[side] if "price" in self.entities else {}).items():
            wanted[name] = wanted.get(name, frozenset()) | fields
        if self.groups is not None and side == "xero":
            wanted[GROUP_OBJECT] = frozenset(GROUP_FIELDS)
        if self.payments is not None and side == "salesforce":
            name = self.payments.salesforce
            wanted[name] = wanted.get(name, frozenset()) | self.payments.fields
        for made in (self.invoice, self.bill):
            for name, fields in (made.fields(side) if made else {}).items():
                wanted[name] = wanted.get(name, frozenset()) | fields
        return wanted


PRICED_BY: Final = {
    "salesforce": {"Pricebook2": frozenset(PRICE_BOOK)},
    "xero": {"Organisation": frozenset(REFERENCE_DATA["Organisation"])},
}


# What settles invoices. A bill is an invoice, too: it has a list of its own, so that no reader of sales meets one.
SETTLING: Final = {
    "Bill": ("InvoiceID",), "Payment": ("PaymentID",), "CreditNote": ("CreditNoteID",),
    "Overpayment": ("OverpaymentID",), "Prepayment": ("PrepaymentID",),
}  # fmt: skip
# Ours in Salesforce -> the field by which a record is known.
SHOWN_BY: Final = {"Xero_Invoice__c": "Xero_Invoice_ID__c", "Xero_Payment__c": "Xero_Payment_ID__c"}
SHOWN_ENTITIES: Final = {"Xero_Invoice__c": "shown_invoice", "Xero_Payment__c": "shown_payment"}
SHOWN_UNIT: Final = "settled"  # all that one record of Salesforce shows of it
OURS: Final = frozenset({"reference", "number"})  # units of our ids and numbers, which nobody else edits
OPTION: Final = "option"  # an entity: of tracking, made for a line and linked to nothing
TRACKING_OPTION: Final = "TrackingOption"  # as an object of Xero
# What Salesforce shows, as the shipped metadata names it (docs/salesforce).
_SHOWN_OF_BOTH: Final = (
    "Account__c", "Opportunity__c", "Order__c", "Number__c", "Type__c", "Status__c", "Reference__c", "Date__c",
    "Currency__c", "Currency_Rate__c", "Xero_Updated__c",
)  # fmt: skip
_SHOWN_OF_SOURCES: Final = (
    "Xero_Invoice_Currency__c", "Xero_Invoice_Date__c", "Xero_Invoice_Due_Date__c", "Xero_Invoice_Paid_On__c",
    "Xero_Invoice_Total__c", "Xero_Invoice_Amount_Paid__c", "Xero_Invoice_Amount_Credited__c",
    "Xero_Invoice_Amount_Due__c", "Xero_Invoice_Amount_Overdue__c",
)  # fmt: skip
SHOWN_FIELDS: Final = {
    "Xero_Invoice__c": (
        "Xero_Invoice_ID__c", *_SHOWN_OF_BOTH, "Due_Date__c", "Fully_Paid_On__c", "Subtotal__c", "Total_Tax__c",
        "Total__c", "Amount_Paid__c", "Amount_Credited__c", "Amount_Due__c", "Url__c",
    ),
    "Xero_Payment__c": ("Xero_Payment_ID__c", *_SHOWN_OF_BOTH, "Invoice__c", "Amount__c"),
    "Account": (
        "Xero_Balance_Currency__c", "Xero_Outstanding__c", "Xero_Overdue__c", "Xero_Credit__c",
        "Xero_Last_Payment_On__c", "Xero_Last_Payment__c", "Xero_Balances__c",
    ),
    **dict.fromkeys(SOURCE_OBJECTS, _SHOWN_OF_SOURCES),
}  # fmt: skip


def settling_fields(mapping: DocumentMapping, side: str) -> dict[str, frozenset[str]]:
    """Object -> every field that is read of that side of what settles invoices."""
    if side == "xero":
        return {name: frozenset(fields) for name, fields in SETTLING.items()}
    if mapping.settled != "shown":
        return {}
    names = (*SHOWN_BY, "Account", *(one.salesforce for one in mapping.sources))
    own = frozenset(IN_SALESFORCE)
    return {name: own | frozenset(SHOWN_FIELDS[name]) for name in names}


def is_field(name: str) -> bool:
    """Tell a vendor's field (Type, Region__c) from a unit or attribute (phone), by its capitals."""
    return name != name.lower() or "__" in name


def parts_of(kind: str, side: str, paths: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    names = KINDS[kind].parts[side]
    if side == "xero" and len(paths) == 1 and paths[0].count(".") == 1 and top(paths[0]) in SLOTS:
        fields = SLOT_FIELDS[top(paths[0])]
        return [(name, f"{paths[0]}.{fields[name]}") for name in names]
    return zip(names, paths, strict=False)


SLOT_FIELDS: Final = {
    "Phones": {"country": "PhoneCountryCode", "area": "PhoneAreaCode", "number": "PhoneNumber"},
    "Addresses": {
        **{f"line{number}": f"AddressLine{number}" for number in range(1, 5)},
        "city": "City",
        "region": "Region",
        "postal_code": "PostalCode",
        "country": "Country",
        "attention_to": "AttentionTo",
    },
}
