"""xero-python, other people's client, drives the server unchanged; its models read every reply."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from xero_python.accounting import AccountingApi, Address, Contact, Contacts, Phone
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


def go_to_second_of_the_window(xero, second):
    now = datetime.fromisoformat(xero.control("clock")["now"])
    into = (now.timestamp() - 17) % 60  # this tenant's minute begins at second 17
    xero.control("clock", {"move_s": second - into})
