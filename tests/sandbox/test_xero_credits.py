"""Credit notes by plain HTTP: how they are written, edited, listed, and what is kept of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.sandbox.credit_books import Books, line, messages, state

NO_ID = "00000000-0000-0000-0000-000000000000"
UNKNOWN = "9ac1f7b0-0000-4000-8000-000000000000"
TAKEN = "Credit Note # must be unique."


@pytest.fixture
def books(xero):
    return Books(xero)


# -- writing them


def test_a_credit_note_has_lines_tax_and_totals_as_an_invoice_has(books):
    note = books.note(LineItems=[line(UnitAmount="25.06"), line(UnitAmount="25.61")], Reference="r")
    sums = (note["SubTotal"], note["TotalTax"], note["Total"], note["RemainingCredit"])
    assert sums == (Decimal("50.67"), Decimal("10.13"), Decimal("60.80"), Decimal("60.80"))
    assert (note["CreditNoteNumber"], note["Status"], note["Reference"]) == ("CN-0001", "AUTHORISED", "r")
    assert (note["CurrencyCode"], note["CurrencyRate"]) == ("GBP", 1)
    assert note["DateString"] == "2026-11-24T00:00:00"
    assert note["ID"] == note["CreditNoteID"]
    read = books.read(note)
    assert [one["LineItemID"] for one in read["LineItems"]] == [
        one["LineItemID"] for one in note["LineItems"]
    ]
    assert books.read({"CreditNoteID": "cn-0001"})["CreditNoteID"] == note["CreditNoteID"]


def test_a_branding_theme_has_to_be_there(books):
    assert len(books.refused(method="PUT", **books.body("ACCRECCREDIT", BrandingThemeID=UNKNOWN))) == 1


def test_a_discount_on_a_line_is_passed_over(books):
    assert books.note(LineItems=[line(DiscountRate=50)])["Total"] == 120


def test_a_draft_may_have_no_lines_and_then_none_can_be_approved(books):
    note = books.note(Status="DRAFT", LineItems=...)
    assert (note["Total"], note["LineItems"]) == (0, [])
    assert books.refused(note, Status="AUTHORISED") == ["One or more line items must be specified"]


def test_a_number_of_sales_is_unique_and_one_of_purchases_is_not(books):
    first = books.note(CreditNoteNumber="CN-0002")
    sent = books.body("ACCRECCREDIT", CreditNoteNumber="cn-0002")
    assert books.refused(method="PUT", **sent) == [TAKEN]
    assert [books.note()["CreditNoteNumber"] for _ in range(2)] == ["CN-0001", "CN-0003"]
    bills = [books.note(Type="ACCPAYCREDIT", CreditNoteNumber="CN-0002", Reference="x") for _ in range(2)]
    assert len({one["CreditNoteID"] for one in [first, *bills]}) == 3
    assert bills[0]["Reference"] == ""
    other = books.note(CreditNoteNumber="x")
    assert books.refused(other, CreditNoteNumber="CN-0002") == [TAKEN]


def test_post_by_number_edits_or_is_refused_by_dialect(books):
    note = books.note(CreditNoteNumber="A", Status="DRAFT")
    again = books.note("POST", CreditNoteNumber="a", Status="DRAFT", Reference="new")
    assert (again["CreditNoteID"], again["Reference"]) == (note["CreditNoteID"], "new")
    books.xero.choose(credit_number_on_post="refuse")
    assert books.refused(**books.body("ACCRECCREDIT", CreditNoteNumber="A")) == [TAKEN]
    assert books.change(note, Reference="newer")["Reference"] == "newer"


@pytest.mark.parametrize(
    ("first", "status", "allowed"),
    [
        ("DRAFT", "SUBMITTED", True),
        ("DRAFT", "AUTHORISED", True),
        ("DRAFT", "DELETED", True),
        ("DRAFT", "VOIDED", False),
        ("DRAFT", "PAID", False),
        ("SUBMITTED", "DELETED", True),
        ("AUTHORISED", "VOIDED", True),
        ("AUTHORISED", "DELETED", False),
        ("AUTHORISED", "DRAFT", False),
    ],
)
def test_the_moves_of_a_status(books, first, status, allowed):
    note = books.note(Status=first)
    if allowed:
        assert books.change(note, Status=status)["Status"] == status
        assert books.read(note)["Status"] == status
    else:
        assert books.refused(note, Status=status) == ["Credit note not of valid status for modification"]
        assert books.read(note)["Status"] == first


def test_a_voided_one_has_no_credit_and_is_the_end(books):
    note = books.note()
    assert books.change(note, Status="VOIDED")["RemainingCredit"] == 120
    assert books.read(note)["RemainingCredit"] == 0
    assert books.refused(note, Reference="x") == ["Credit note not of valid status for modification"]
    assert books.refused(note, Status="AUTHORISED") == ["Credit note not of valid status for modification"]


def test_a_refused_one_echoes_what_was_asked_for(books):
    reply = books.xero.call(
        "PUT", "CreditNotes", books.body("ACCRECCREDIT", LineItems=[line(AccountCode="999")])
    )
    assert reply.status_code == 400
    (element,) = reply.json()["Elements"]
    assert (element["CreditNoteID"], element["HasErrors"], element["Status"]) == (NO_ID, True, "AUTHORISED")
    assert messages(element) == ["Account code '999' is not a valid code for this document."]
    assert books.get() == []
    assert books.xero.call("POST", "CreditNotes", {"CreditNoteID": UNKNOWN}).status_code == 404
    assert books.xero.call("GET", f"CreditNotes/{UNKNOWN}").status_code == 404


def test_an_approved_one_may_be_edited_and_by_dialect_only_in_part(books):
    note = books.note()
    assert books.change(note, LineItems=[line(UnitAmount=50)])["RemainingCredit"] == 60
    books.xero.choose(approved_credit_note_edits="some")
    assert books.refused(note, LineItems=[line(UnitAmount=70)]) == [
        "Credit note not of valid status for modification"
    ]
    changed = books.change(note, Reference="r", Date="2026-11-23")
    assert (changed["Reference"], changed["DateString"], changed["Total"]) == ("r", "2026-11-23T00:00:00", 60)


def test_allocations_within_a_credit_note_are_passed_over(books):
    invoice = books.invoice()
    note = books.note(Allocations=[books.to(invoice, 10)])
    assert (note["Allocations"], books.read(note)["Allocations"]) == ([], [])
    assert state(books.read(invoice)) == ("AUTHORISED", 120, 0, 0)


# -- lists


def test_a_list_pages_filters_and_sorts(books):
    for n in range(4):
        books.note(CreditNoteNumber=f"C{n}", LineItems=[line(UnitAmount=10 + n)])
    books.note(Type="ACCPAYCREDIT", Status="DRAFT")

    def numbers(**query: str) -> list[str]:
        return [one["CreditNoteNumber"] for one in books.get(**query)]

    assert numbers(page=2, pageSize=2) == ["C2", "C3"]
    assert numbers(where='Type=="ACCRECCREDIT" AND RemainingCredit>=14.4') == ["C2", "C3"]
    assert numbers(where='Contact.Name=="acme" AND Status=="DRAFT"') == [""]
    assert numbers(where='Type=="ACCRECCREDIT"', order="Total DESC") == ["C3", "C2", "C1", "C0"]
    reply = books.xero.call("GET", "CreditNotes", page=1, pageSize=2).json()
    assert reply["pagination"] == {"page": 1, "pageSize": 2, "pageCount": 3, "itemCount": 5}
    assert [len(one["LineItems"]) for one in reply["CreditNotes"]] == [1, 1]
    (first, *_) = books.get()
    assert (first["LineItems"], first["Contact"]["Name"], first["Contact"]["Phones"]) == ([], "Acme", [])
    assert books.xero.call("GET", "CreditNotes", where='Nope=="x"').json()["ErrorNumber"] == 16


def test_what_changed_since_tells_of_allocations_too(books):
    invoice, note, other = books.invoice(), books.note(), books.note()
    books.xero.control("clock", {"move_s": 600})
    since = {"If-Modified-Since": books.xero.control("clock")["now"][:19]}
    assert books.get(headers=since) == []
    books.allocate(note, invoice, 20)
    assert [one["CreditNoteID"] for one in books.get(headers=since)] == [note["CreditNoteID"]]
    assert [one["InvoiceID"] for one in books.get("Invoices", headers=since)] == [invoice["InvoiceID"]]
    assert books.change(other, Reference="x")["Reference"] == "x"
    assert len(books.get(headers=since)) == 2


def test_four_places_of_a_price_when_asked_for(books):
    sent = books.body("ACCRECCREDIT", LineItems=[line(UnitAmount="0.0149", Quantity=1000)])
    note = books.only(books.xero.call("PUT", "CreditNotes", sent, unitdp=4), "CreditNotes")
    path = f"CreditNotes/{note['CreditNoteID']}"
    four = books.only(books.xero.call("GET", path, unitdp=4), "CreditNotes")
    assert (four["LineItems"][0]["UnitAmount"], four["SubTotal"]) == (Decimal("0.0149"), Decimal("14.90"))
    assert books.read(note)["LineItems"][0]["UnitAmount"] == Decimal("0.01")


# -- around them


def test_a_repeat_with_the_same_key_allocates_once(books):
    invoice, note = books.invoice(), books.note()
    for _ in range(2):
        path = f"CreditNotes/{note['CreditNoteID']}/Allocations"
        sent = {"Allocations": [books.to(invoice, 20)]}
        assert books.xero.call("PUT", path, sent, {"Idempotency-Key": "k"}).status_code == 200
    assert books.read(note)["RemainingCredit"] == 100


def test_a_merge_of_contacts_takes_the_credits_along(books):
    note, over = books.note(), books.pay("overpay", Amount=5)
    survivor = books.xero.put({"Name": "Survivor"}).json()["Contacts"][0]["ContactID"]
    books.xero.control("merge-contacts", {"loser": books.contact_id, "survivor": survivor})
    assert [books.read(one)["Contact"]["ContactID"] for one in (note, over)] == [survivor] * 2
    (merged,) = books.xero.call("GET", f"Contacts/{survivor}").json(parse_float=Decimal)["Contacts"]
    assert merged["Balances"]["AccountsReceivable"]["Outstanding"] == -125


def test_credits_and_their_allocations_are_dumped_and_loaded(books):
    invoice, note, over = books.invoice(), books.note(), books.pay("overpay", Amount=5)
    books.allocate(note, invoice, 20)
    books.pay("prepay", Amount=7)
    before = [books.read(note), books.read(over), books.read(invoice)]
    text, rows = books.xero.dump_text(), books.xero.dump()
    books.xero.control("reset", {"seed": False})
    books.xero.load_text(text)
    assert books.xero.dump() == rows
    assert [books.read(note), books.read(over), books.read(invoice)] == before


@pytest.mark.parametrize(
    ("scopes", "notes", "overpayments"),
    [
        ("accounting.invoices", 200, 401),
        ("accounting.payments.read", 401, 200),
        ("accounting.transactions", 200, 200),
        ("accounting.contacts", 401, 401),
    ],
)
def test_scopes(books, scopes, notes, overpayments):
    client = books.xero.control("clients", {"name": "app", "scopes": scopes})
    books.xero.log_in(client_id=client["client_id"], client_secret=client["client_secret"])
    assert books.xero.call("GET", "CreditNotes").status_code == notes
    assert books.xero.call("GET", "Overpayments").status_code == overpayments
