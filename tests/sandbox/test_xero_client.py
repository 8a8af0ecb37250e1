"""xero-python, other people's client, drives the server unchanged; its models read every reply."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from xero_python.accounting import (
    AccountingApi,
    Address,
    Contact,
    Contacts,
    HistoryRecord,
    HistoryRecords,
    Invoice,
    Invoices,
    Item,
    Items,
    LineItem,
    Phone,
    Purchase,
    models,
)
from xero_python.api_client import ApiClient
from xero_python.api_client.configuration import Configuration
from xero_python.api_client.oauth2 import OAuth2Token, TokenApi
from xero_python.exceptions import AccountingBadRequestException, HTTPStatusException, NotFoundException
from xero_python.identity import IdentityApi


class Client:
    """xero-python with its three addresses set, as facts/xero.md tells."""

    def __init__(self, line, monkeypatch, scopes=None):
        self.tenant = line["tenant_id"]
        for name in ("client_credentials_token_url", "refresh_token_url"):
            monkeypatch.setattr(TokenApi, name, f"{line['identity_url']}/connect/token")
        monkeypatch.setattr(TokenApi, "revoke_token_url", f"{line['identity_url']}/connect/revocation")
        token = OAuth2Token(client_id=line["client_id"], client_secret=line["client_secret"])
        self.kept = {}
        configuration = Configuration()
        configuration.oauth2_token = token  # every Configuration(...) is a copy of the first one made
        self.api_client = ApiClient(
            configuration,
            oauth2_token_saver=self.kept.update,
            oauth2_token_getter=lambda: self.kept,
        )
        self.accounting = AccountingApi(self.api_client, base_url=f"{line['api_url']}/api.xro/2.0")
        self.identity = IdentityApi(self.api_client, base_url=line["api_url"])

    def log_in(self):
        self.api_client.get_client_credentials_token()
        return self

    def contacts(self, **options):
        return self.accounting.get_contacts(self.tenant, **options).contacts

    def create(self, *contacts, **options):
        return self.accounting.create_contacts(
            self.tenant, Contacts(contacts=list(contacts)), **options
        ).contacts


@pytest.fixture
def client(xero, monkeypatch):
    return Client(xero.line, monkeypatch).log_in()


def names(contacts):
    return [contact.name for contact in contacts]


def test_it_finds_its_organisation(client):
    (connection,) = client.identity.get_connections()
    assert connection.tenant_id == client.tenant
    (organisation,) = client.accounting.get_organisations(client.tenant).organisations
    assert (organisation.name, organisation.base_currency.value) == ("Demo Company (UK)", "GBP")
    assert client.accounting.get_currencies(client.tenant).currencies
    assert client.accounting.get_contact_groups(client.tenant).contact_groups == []


def test_it_creates_and_reads_a_contact_with_every_field(client):
    (made,) = client.create(
        Contact(
            name="Acme Ltd",
            first_name="Ann",
            last_name="Lee",
            email_address="ann@acme.test",
            contact_number="N1",
            account_number="A1",
            company_number="01234567",
            tax_number="GB123456789",
            phones=[Phone(phone_type="MOBILE", phone_number="7700 900123", phone_country_code="44")],
            addresses=[
                Address(address_type="POBOX", address_line1="1 High St", city="Leeds", country="Wales")
            ],
        )
    )
    (read,) = client.accounting.get_contact(client.tenant, made.contact_id).contacts
    assert (read.name, read.email_address, read.tax_number) == ("Acme Ltd", "ann@acme.test", "GB123456789")
    assert [p.phone_number for p in read.phones if p.phone_type == "MOBILE"] == ["7700 900123"]
    assert read.addresses[0].city == "Leeds"
    assert abs((read.updated_date_utc - datetime.now(UTC)).total_seconds()) < 60
    (by_number,) = client.accounting.get_contact_by_contact_number(client.tenant, "N1").contacts
    assert by_number.contact_id == made.contact_id


def test_it_pages_filters_sorts_and_searches(client):
    client.create(*(Contact(name=f"Contact {n}", email_address=f"c{n}@acme.test") for n in range(5)))
    paged = client.accounting.get_contacts(client.tenant, page=2, page_size=2)
    assert names(paged.contacts) == ["Contact 2", "Contact 3"]
    assert paged.pagination.item_count == 5
    assert names(client.contacts(where='Name=="contact 3"')) == ["Contact 3"]
    assert names(client.contacts(order="Name DESC", page=1, page_size=1)) == ["Contact 4"]
    assert names(client.contacts(search_term="C2@ACME", page=1)) == ["Contact 2"]
    ids = [contact.contact_id for contact in client.contacts()][:2]
    assert names(client.contacts(i_ds=ids)) == ["Contact 0", "Contact 1"]
    assert names(client.contacts(summary_only=True)) == [f"Contact {n}" for n in range(5)]


def test_it_updates_and_archives(client):
    (made,) = client.create(Contact(name="Acme"))
    change = Contacts(contacts=[Contact(email_address="new@acme.test")])
    (changed,) = client.accounting.update_contact(client.tenant, made.contact_id, change).contacts
    assert (changed.name, changed.email_address) == ("Acme", "new@acme.test")
    archive = Contacts(contacts=[Contact(contact_id=made.contact_id, contact_status="ARCHIVED")])
    (gone,) = client.accounting.update_or_create_contacts(client.tenant, archive).contacts
    assert gone.contact_status == "ARCHIVED"
    assert client.contacts() == []
    assert names(client.contacts(include_archived=True)) == ["Acme"]
    with pytest.raises(AccountingBadRequestException):
        client.accounting.update_or_create_contacts(client.tenant, archive)


def test_it_reads_only_what_changed_since(xero, client):
    client.create(Contact(name="Old"))
    xero.control("clock", {"move_s": 600})
    since = datetime.fromisoformat(xero.control("clock")["now"])
    client.create(Contact(name="New"))
    assert names(client.contacts(if_modified_since=since.replace(microsecond=0))) == ["New"]


def test_it_reports_a_validation_error(client):
    client.create(Contact(name="Acme"))
    with pytest.raises(AccountingBadRequestException) as caught:
        client.create(Contact(name="acme"))
    assert "already assigned to another contact" in caught.value.reason


def test_it_reads_single_errors_in_a_batch(client):
    client.create(Contact(name="Acme"))
    bad, good = client.create(Contact(name="acme"), Contact(name="New"), summarize_errors=False)
    assert (bad.status_attribute_string, good.status_attribute_string) == ("ERROR", "OK")
    assert bad.has_validation_errors
    assert "already assigned" in bad.validation_errors[0].message


def test_it_reports_what_is_not_there(client):
    with pytest.raises(NotFoundException):
        client.accounting.get_contact(client.tenant, "9ac1f7b0-0000-4000-8000-000000000000")


def test_its_repeat_with_the_same_key_creates_once(client):
    for _ in range(2):
        (made,) = client.create(Contact(name="Acme"), idempotency_key="k1")
    assert [contact.contact_id for contact in client.contacts()] == [made.contact_id]


def test_it_refreshes_a_token_that_ran_out(xero, client, monkeypatch):
    client.kept.clear()
    client.kept.update(xero.control("grant", {}), expires_at=time.time() - 1)
    client.kept["scope"] = client.kept["scope"].split()
    before = client.kept["refresh_token"]
    assert client.contacts() == []
    assert client.kept["refresh_token"] != before
    client.api_client.revoke_oauth2_token()
    client.kept["expires_at"] = time.time() + 1000
    with pytest.raises(HTTPStatusException):
        client.contacts()


def test_it_waits_when_it_is_limited(open_xero, monkeypatch):
    xero = open_xero(limits="real")
    client = Client(xero.line, monkeypatch).log_in()
    go_to_second_of_the_window(xero, 1)
    for _ in range(60):
        client.accounting.get_organisations(client.tenant)
    go_to_second_of_the_window(xero, 58)
    started = time.monotonic()
    client.accounting.get_organisations(client.tenant)  # 429, waits for Retry-After, and goes through
    assert time.monotonic() - started > 1
    assert [row["status"] for row in xero.log()][-2:] == [429, 200]


# -- documents


def invoice(contact_id, **fields):
    line = LineItem(description="Work", quantity=2, unit_amount=Decimal("10.50"), account_code="200")
    start = {
        "type": "ACCREC",
        "contact": Contact(contact_id=contact_id),
        "date": date(2026, 11, 24),
        "due_date": date(2026, 12, 24),
        "line_items": [line],
        "status": "AUTHORISED",
    }
    return Invoice(**{**start, **fields})


def send(client, *invoices, put=True, **options):
    api = client.accounting
    method = api.create_invoices if put else api.update_or_create_invoices
    return method(client.tenant, Invoices(invoices=list(invoices)), **options).invoices


@pytest.fixture
def contact_id(client):
    return client.create(Contact(name="Acme"))[0].contact_id


def test_it_makes_reads_edits_and_voids_an_invoice(client, contact_id):
    (made,) = send(client, invoice(contact_id, invoice_number="SF-1", reference="Deal"))
    sums = (made.sub_total, made.total_tax, made.total, made.amount_due)
    assert sums == (Decimal("21.00"), Decimal("4.20"), Decimal("25.20"), Decimal("25.20"))
    (read,) = client.accounting.get_invoice(client.tenant, made.invoice_id).invoices
    assert (read.date, read.due_date, read.currency_code.value) == (
        date(2026, 11, 24),
        date(2026, 12, 24),
        "GBP",
    )
    assert (read.contact.name, read.line_items[0].tax_type) == ("Acme", "OUTPUT2")
    change = Invoices(invoices=[Invoice(reference="Changed")])
    (changed,) = client.accounting.update_invoice(client.tenant, made.invoice_id, change).invoices
    assert (changed.reference, changed.line_items[0].line_item_id) == (
        "Changed",
        made.line_items[0].line_item_id,
    )
    (void,) = send(client, Invoice(invoice_id=made.invoice_id, status="VOIDED"), put=False)
    assert void.status == "VOIDED"
    records = client.accounting.get_invoice_history(client.tenant, made.invoice_id).history_records
    assert [one.changes for one in records] == ["Voided", "Edited", "Created"]
    assert {one.user for one in records} == {"Reconcile sandbox"}
    assert abs((records[0].date_utc - datetime.now(UTC)).total_seconds()) < 60


def test_it_lists_invoices_by_page_filter_and_time(xero, client, contact_id):
    send(client, *(invoice(contact_id, invoice_number=f"SF-{n}") for n in range(5)))
    api, tenant = client.accounting, client.tenant
    paged = api.get_invoices(tenant, page=2, page_size=2)
    assert [one.invoice_number for one in paged.invoices] == ["SF-2", "SF-3"]
    assert (paged.pagination.item_count, len(paged.invoices[0].line_items)) == (5, 1)
    for options in (
        {"where": 'InvoiceNumber=="SF-3"'},
        {"invoice_numbers": ["SF-3"]},
        {"search_term": "sf-3"},
    ):
        assert [one.invoice_number for one in api.get_invoices(tenant, **options).invoices] == ["SF-3"]
    assert len(api.get_invoices(tenant, statuses=["AUTHORISED"], contact_i_ds=[contact_id]).invoices) == 5
    assert api.get_invoices(tenant, summary_only=True).invoices[0].total == Decimal("25.20")
    xero.control("clock", {"move_s": 600})
    since = datetime.fromisoformat(xero.control("clock")["now"]).replace(microsecond=0)
    send(client, invoice(contact_id, invoice_number="new"))
    assert [one.invoice_number for one in api.get_invoices(tenant, if_modified_since=since).invoices] == [
        "new"
    ]


def test_it_reports_a_number_that_is_taken(client, contact_id):
    send(client, invoice(contact_id, invoice_number="SF-1"))
    with pytest.raises(AccountingBadRequestException) as caught:
        send(client, invoice(contact_id, invoice_number="SF-1"))
    assert "Invoice # must be unique." in caught.value.reason
    bad, good = send(
        client,
        invoice(contact_id, invoice_number="sf-1"),
        invoice(contact_id, invoice_number="SF-2"),
        summarize_errors=False,
    )
    assert (bad.status_attribute_string, good.status_attribute_string) == ("ERROR", "OK")
    assert (bad.has_errors, bad.validation_errors[0].message) == (True, "Invoice # must be unique.")


def test_it_keeps_four_places_when_it_asks_for_them(client, contact_id):
    lines = [LineItem(description="x", quantity=1000, unit_amount=Decimal("0.0149"), account_code="200")]
    (made,) = send(client, invoice(contact_id, line_items=lines), unitdp=4)
    assert (made.line_items[0].unit_amount, made.sub_total) == (Decimal("0.0149"), Decimal("14.90"))
    (read,) = client.accounting.get_invoice(client.tenant, made.invoice_id, unitdp=4).invoices
    assert read.line_items[0].unit_amount == Decimal("0.0149")


def test_it_reads_accounts_tax_rates_and_items(client):
    api, tenant = client.accounting, client.tenant
    (sales,) = api.get_accounts(tenant, where='Code=="200"').accounts
    assert (sales.name, sales.tax_type, sales.type.value) == ("Sales", "OUTPUT2", "REVENUE")
    assert api.get_account(tenant, sales.account_id).accounts[0].code == "200"
    (rate,) = api.get_tax_rates(tenant, where='TaxType=="OUTPUT2"').tax_rates
    assert (rate.effective_rate, rate.can_apply_to_revenue) == (Decimal(20), True)
    details = Purchase(unit_price=Decimal("12.3456"), account_code="200")
    items = Items(items=[Item(code="W-1", name="Widget", sales_details=details)])
    (made,) = api.create_items(tenant, items, unitdp=4).items
    (read,) = api.get_item(tenant, made.item_id, unitdp=4).items
    assert read.sales_details.unit_price == Decimal("12.3456")
    assert [one.code for one in api.get_items(tenant, order="Code").items] == ["W-1"]
    api.delete_item(tenant, made.item_id)
    assert api.get_items(tenant).items == []


def test_it_writes_a_note(client, contact_id):
    notes = HistoryRecords(history_records=[HistoryRecord(details="Seen")])
    (made,) = send(client, invoice(contact_id))
    client.accounting.create_invoice_history(client.tenant, made.invoice_id, notes)
    client.accounting.create_contact_history(client.tenant, contact_id, notes)
    (note, *_) = client.accounting.get_contact_history(client.tenant, contact_id).history_records
    assert (note.changes, note.details) == ("Note", "Seen")


def test_its_repeat_with_the_same_key_makes_one_invoice(client, contact_id):
    for _ in range(2):
        (made,) = send(client, invoice(contact_id), idempotency_key="k")
    assert [one.invoice_id for one in client.accounting.get_invoices(client.tenant).invoices] == [
        made.invoice_id
    ]


# recorded, though the spec doesn't have them
BEYOND_THE_SPEC = {
    ".Id",
    ".Status",
    ".ProviderName",
    ".DateTimeUTC",
    ".Invoices.DateString",
    ".Invoices.DueDateString",
    ".Invoices.InvoicePaymentServices",
    ".Invoices.LineItems.ValidationErrors",
    ".HistoryRecords.DateUTCString",
}


def unknown_names(value, model, at=""):
    """The names in a reply that the spec (by the client that was made from it) does not have at that place."""
    if isinstance(value, list):
        inner = model.removeprefix("list[").removesuffix("]")
        return [name for one in value for name in unknown_names(one, inner, at)]
    kind = getattr(models, model, None)
    if not isinstance(value, dict) or kind is None:
        return []
    types = {public: kind.openapi_types[name] for name, public in kind.attribute_map.items()}
    found = [f"{at}.{name}" for name in value if name not in types and f"{at}.{name}" not in BEYOND_THE_SPEC]
    for name, inner in value.items():
        found += unknown_names(inner, types.get(name, ""), f"{at}.{name}")
    return found


def test_every_name_in_a_reply_is_one_of_the_spec(xero, client, contact_id):
    client.accounting.create_items(client.tenant, Items(items=[Item(code="W", description="x")]))
    lines = [LineItem(item_code="W", quantity=1, unit_amount=5, account_code="200", discount_rate=5)]
    (made,) = send(client, invoice(contact_id, line_items=lines))
    xero.control("invoice-facts", {"InvoiceID": made.invoice_id, "AmountPaid": 1})
    replies = {
        "Invoices": [
            xero.call("GET", "Invoices"),
            xero.call("GET", "Invoices", page=1),
            xero.call("GET", "Invoices", summaryOnly="true"),
            xero.call("GET", f"Invoices/{made.invoice_id}"),
            xero.call("POST", "Invoices", {"InvoiceID": made.invoice_id, "Reference": "x"}),
            xero.call(
                "POST",
                "Invoices",
                {"InvoiceID": made.invoice_id, "Status": "DELETED"},
                summarizeErrors="false",
            ),
        ],
        "Items": [xero.call("GET", "Items")],
        "Accounts": [xero.call("GET", "Accounts")],
        "TaxRates": [xero.call("GET", "TaxRates")],
        "HistoryRecords": [xero.call("GET", f"Invoices/{made.invoice_id}/History")],
        "Organisations": [xero.call("GET", "Organisation")],
    }
    for model, several in replies.items():
        for reply in several:
            assert reply.status_code == 200, reply.text
            assert reply.json()[model]
            assert unknown_names(reply.json(), model) == []
    assert unknown_names({"Invoices": [{"Totals": 1}]}, "Invoices") == [".Invoices.Totals"]


def go_to_second_of_the_window(xero, second):
    now = datetime.fromisoformat(xero.control("clock")["now"])
    into = (now.timestamp() - 17) % 60  # this tenant's minute begins at second 17
    xero.control("clock", {"move_s": second - into})
