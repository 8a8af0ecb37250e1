"""Tracking categories, branding themes and contact groups: how they are kept, and what documents say of them."""

from __future__ import annotations

import pytest
from xero_python import accounting
from xero_python.accounting import Contact, ContactGroup, Contacts, Invoice, LineItem, LineItemTracking
from xero_python.exceptions import AccountingBadRequestException

from tests.sandbox.test_xero_client import Client
from tests.sandbox.test_xero_invoices import UNKNOWN, Invoices, line

NOT_KNOWN = "Unknown tracking details. A Tracking Category did not match a known Active TrackingCategory"
NO_OPTION = "Unknown tracking details. A Tracking Option did not match a known Active TrackingOption"


class Tracking:
    """Tracking categories by plain HTTP."""

    def __init__(self, xero):
        self.xero = xero

    def call(self, method, path="", body=None, **query):
        return self.xero.call(method, f"TrackingCategories{path}", body, **query)

    def put(self, name, *options):
        made = self.only(self.call("PUT", "", {"Name": name}))
        for option in options:
            assert (
                self.call("PUT", f"/{made['TrackingCategoryID']}/Options", {"Name": option}).status_code
                == 200
            )
        return self.one(made)

    def only(self, reply, key="TrackingCategories"):
        assert reply.status_code == 200, reply.text
        (one,) = reply.json()[key]
        return one

    def one(self, category):
        return self.only(self.call("GET", f"/{category['TrackingCategoryID']}"))

    def names(self, **query):
        reply = self.call("GET", **query)
        return [one["Name"] for one in reply.json()["TrackingCategories"]]

    def refusal(self, reply):
        assert reply.status_code == 400, reply.text
        (element,) = reply.json()["Elements"]
        return [error["Message"] for error in element["ValidationErrors"]]


@pytest.fixture
def tracking(xero):
    return Tracking(xero)


@pytest.fixture
def invoices(xero):
    return Invoices(xero)


def named(name="Region", option="North"):
    return {"Name": name, "Option": option}


def entries(invoice):
    return [one["Tracking"] for one in invoice["LineItems"]]


def tracked(*entries):
    return [line(Tracking=list(entries))]


# -- how they are kept


def test_a_category_and_its_options_are_made_read_renamed_and_archived(tracking):
    made = tracking.only(
        tracking.call("PUT", "", {"name": " Region "})
    )  # the spec's example has it in lower case
    assert (made["Name"], made["Status"], made["Options"]) == ("Region", "ACTIVE", [])
    path = f"/{made['TrackingCategoryID']}"
    option = tracking.only(tracking.call("PUT", f"{path}/Options", {"Name": "North"}), "Options")
    flags = {"HasValidationErrors": False, "IsDeleted": False, "IsArchived": False, "IsActive": True}
    assert option == {
        "TrackingOptionID": option["TrackingOptionID"],
        "Name": "North",
        "Status": "ACTIVE",
        **flags,
    }
    assert tracking.one(made)["Options"] == [option]
    tracking.call("POST", path, {"Name": "Area"})
    tracking.call(
        "POST", f"{path}/Options/{option['TrackingOptionID']}", {"Name": "South", "Status": "ARCHIVED"}
    )
    after = tracking.one(made)
    assert (after["Name"], after["Options"][0]["Name"], after["Options"][0]["IsArchived"]) == (
        "Area",
        "South",
        True,
    )
    assert tracking.call("GET").json()["TrackingCategories"][0]["Options"] == []
    tracking.call("POST", path, {"Status": "ARCHIVED"})
    assert (tracking.names(), tracking.names(includeArchived="True")) == ([], ["Area"])
    tracking.call("POST", path, {"Status": "ACTIVE"})
    assert tracking.names() == ["Area"]
    assert tracking.call("GET", f"/{UNKNOWN}").status_code == 404
    assert tracking.call("POST", f"{path}/Options/{UNKNOWN}", {"Name": "a"}).status_code == 404


def test_two_categories_are_active_and_four_are_there(tracking):
    rows = [tracking.put(name) for name in "ab"]
    too_many = ["An organisation can have a maximum of two active tracking categories"]
    assert tracking.refusal(tracking.call("PUT", "", {"Name": "c"})) == too_many
    for name, old in zip("cd", rows, strict=True):
        tracking.call("POST", f"/{old['TrackingCategoryID']}", {"Status": "ARCHIVED"})
        tracking.put(name)
    back = tracking.call("POST", f"/{rows[0]['TrackingCategoryID']}", {"Status": "ACTIVE"})
    assert tracking.refusal(back) == too_many
    tracking.call(
        "POST",
        f"/{tracking.call('GET').json()['TrackingCategories'][0]['TrackingCategoryID']}",
        {"Status": "ARCHIVED"},
    )
    fifth = tracking.call("PUT", "", {"Name": "e"})
    assert tracking.refusal(fifth) == ["An organisation can have a maximum of four tracking categories"]
    assert tracking.call("DELETE", f"/{rows[0]['TrackingCategoryID']}").status_code == 200
    assert tracking.put("e")


def test_names_are_unique_without_case_and_at_most_100_characters(tracking):
    region = tracking.put("Region", "North")
    path = f"/{region['TrackingCategoryID']}/Options"
    assert tracking.refusal(tracking.call("PUT", "", {"Name": "REGION"})) == [
        "The name REGION is already in use. The name must be unique."
    ]
    assert tracking.refusal(tracking.call("PUT", path, {"Name": "north"}))
    assert tracking.refusal(tracking.call("PUT", path, {"Name": "x" * 101}))
    assert tracking.call("PUT", path, {"Name": "x" * 100}).status_code == 200
    assert tracking.refusal(tracking.call("PUT", path, {"Name": ""})) == ["The Name must be specified"]
    tracking.call("DELETE", f"/{region['TrackingCategoryID']}")
    assert tracking.put("region")


@pytest.mark.parametrize(("rule", "status"), [("accept", 200), ("refuse", 400)])
def test_the_hundred_and_first_option_by_dialect(tracking, rule, status):
    tracking.xero.choose(options_beyond_100=rule)
    path = f"/{tracking.put('Region')['TrackingCategoryID']}/Options"
    assert tracking.call("PUT", path, {"Options": [{"Name": f"o{n}"} for n in range(100)]}).status_code == 200
    assert tracking.call("PUT", path, {"Name": "one more"}).status_code == status


def test_categories_are_filtered_and_sorted(tracking):
    for name in ("b", "a"):
        tracking.put(name)
    assert tracking.names(order="Name") == ["a", "b"]
    assert tracking.names(where='Name=="A"') == ["a"]
    assert tracking.call("GET", where="Nothing==1").json()["ErrorNumber"] == 16


def test_what_is_deleted_is_read_by_its_id_alone(tracking):
    region = tracking.put("Region", "North")
    path = f"/{region['TrackingCategoryID']}"
    option = tracking.only(
        tracking.call("DELETE", f"{path}/Options/{region['Options'][0]['TrackingOptionID']}"), "Options"
    )
    assert (option["Status"], option["IsDeleted"], option["IsActive"]) == ("DELETED", True, False)
    deleted = tracking.only(tracking.call("DELETE", path))
    assert (deleted["Status"], deleted["Options"]) == ("DELETED", [])
    assert tracking.names(includeArchived="true") == []
    assert tracking.one(region)["Status"] == "DELETED"
    assert tracking.refusal(tracking.call("POST", path, {"Name": "a"})) == [
        "The tracking category has been deleted"
    ]


@pytest.mark.parametrize(("rule", "status", "now"), [("archive", 200, "ARCHIVED"), ("refuse", 400, "ACTIVE")])
def test_what_a_document_uses_is_archived_and_not_deleted(tracking, invoices, rule, status, now):
    tracking.xero.choose(used_tracking_deleted=rule)
    region = tracking.put("Region", "North", "South")
    invoices.make(LineItems=tracked(named()))
    path = f"/{region['TrackingCategoryID']}"
    for option, expected in zip(region["Options"], (status, 200), strict=True):
        assert tracking.call("DELETE", f"{path}/Options/{option['TrackingOptionID']}").status_code == expected
    assert tracking.one(region)["Options"][0]["Status"] == now
    assert tracking.call("DELETE", path).status_code == status
    assert tracking.one(region)["Status"] == now


def test_categories_survive_a_dump_and_a_load(tracking):
    region = tracking.put("Region", "North")
    text = tracking.xero.dump_text()
    tracking.xero.control("reset", {})
    tracking.xero.load_text(text)
    assert tracking.one(region) == region


# -- on the lines of documents


def test_a_line_is_tracked_by_ids_or_by_names_and_shows_both(tracking, invoices):
    region = tracking.put("Region", "North", "South")
    ids = {
        "TrackingCategoryID": region["TrackingCategoryID"],
        "TrackingOptionID": region["Options"][0]["TrackingOptionID"],
    }
    full = {**named(), **ids}
    for sent in (
        ids,
        named("REGION", "north"),
        {"TrackingCategoryID": ids["TrackingCategoryID"], "Option": "North"},
    ):
        made = invoices.make(LineItems=tracked(sent))
        assert entries(made) == [[full]]
        assert entries(invoices.get(f"/{made['InvoiceID']}")[0]) == [[full]]
    assert entries(invoices.get(page=1)[0]) == [[full]]


def test_an_edit_without_tracking_keeps_it_and_an_empty_list_takes_it_away(tracking, invoices):
    tracking.put("Region", "North", "South")
    made = invoices.make(LineItems=tracked(named()))
    kept = {"LineItemID": made["LineItems"][0]["LineItemID"]}
    after = invoices.post(InvoiceID=made["InvoiceID"], LineItems=[{**kept, "Description": "b"}])
    assert entries(after)[0][0]["Option"] == "North"
    after = invoices.post(
        InvoiceID=made["InvoiceID"], LineItems=[{**kept, "Tracking": [named(option="South")]}]
    )
    assert entries(after)[0][0]["Option"] == "South"
    after = invoices.post(InvoiceID=made["InvoiceID"], LineItems=[{**kept, "Tracking": []}])
    assert entries(after) == [[]]


def test_what_a_line_names_must_be_there_and_active(tracking, invoices):
    region = tracking.put("Region", "North")
    wrong = {"TrackingCategoryID": UNKNOWN, "TrackingOptionID": UNKNOWN}
    for sent, message in ((named("Area"), NOT_KNOWN), (wrong, NOT_KNOWN), (named(option="East"), NO_OPTION)):
        assert invoices.refusal(**invoices.body(LineItems=tracked(sent))) == [message]
    made = invoices.make(LineItems=tracked(named()))
    tracking.call("POST", f"/{region['TrackingCategoryID']}", {"Status": "ARCHIVED"})
    assert invoices.refusal(**invoices.body(LineItems=tracked(named()))) == [NOT_KNOWN]
    same = [{"LineItemID": made["LineItems"][0]["LineItemID"], "Tracking": entries(made)[0]}]
    again = invoices.post(InvoiceID=made["InvoiceID"], LineItems=same, Status="AUTHORISED")
    assert entries(again) == entries(made)


def test_what_is_not_there_is_passed_over_or_made_by_dialect(tracking, invoices):
    tracking.xero.choose(unknown_tracking="ignore")
    assert entries(invoices.make(LineItems=tracked(named()))) == [[]]
    assert tracking.names() == []
    tracking.xero.choose(unknown_tracking="make")
    made = invoices.make(LineItems=tracked(named()))
    assert (tracking.names(), entries(made)[0][0]["Option"]) == (["Region"], "North")
    wrong = {"TrackingCategoryID": UNKNOWN, "TrackingOptionID": UNKNOWN}
    assert invoices.refusal(**invoices.body(LineItems=tracked(wrong))) == [NOT_KNOWN]
    for name in ("a", "b"):
        body = invoices.body(LineItems=tracked(named(name)))
        refused = invoices.send("PUT", body).status_code
    assert (refused, tracking.names()) == (400, ["Region", "a"])


def test_a_line_has_two_at_most_and_each_category_once(tracking, invoices):
    tracking.put("Region", "North", "South")
    tracking.put("Team", "Red")
    both = [named(), named("Team", "Red")]
    assert len(entries(invoices.make(LineItems=tracked(*both)))[0]) == 2
    body = invoices.body(LineItems=tracked(*both, named(option="South")))
    assert invoices.refusal(**body) == ["A line item can have a maximum of 2 tracking categories"]
    body = invoices.body(LineItems=tracked(named(), named(option="South")))
    assert invoices.refusal(**body) == ["A line item cannot have the same tracking category twice"]


def test_tracking_in_another_shape_is_passed_over_or_breaks_the_call(tracking, invoices):
    region = tracking.put("Region", "North")
    options = {"TrackingCategoryID": region["TrackingCategoryID"], "Options": region["Options"]}
    assert entries(invoices.make(LineItems=tracked(options, {"Name": "Region"}))) == [[]]
    assert invoices.send("PUT", invoices.body(LineItems=[line(Tracking=named())])).status_code == 500
    cut = {"TrackingCategoryID": region["TrackingCategoryID"], "TrackingOptionID": "4ec1e59b-60c0"}
    reply = invoices.send("PUT", invoices.body(LineItems=tracked(cut)))
    assert (reply.status_code, reply.json()["ErrorNumber"]) == (400, 14)
    assert len(invoices.get()) == 1


def test_a_rename_goes_through_the_documents_and_moves_no_stamp(tracking, invoices):
    region = tracking.put("Region", "North")
    made = invoices.make(LineItems=tracked(named()))
    path = f"/{region['TrackingCategoryID']}"
    tracking.call("POST", path, {"Name": "Area"})
    tracking.call("POST", f"{path}/Options/{region['Options'][0]['TrackingOptionID']}", {"Name": "Up"})
    (after,) = invoices.get(f"/{made['InvoiceID']}")
    assert [(one["Name"], one["Option"]) for one in entries(after)[0]] == [("Area", "Up")]
    assert after["UpdatedDateUTC"] == made["UpdatedDateUTC"]
    assert len(invoices.get(headers={"If-Modified-Since": "2026-01-01T00:00:00"})) == 1


def test_the_lines_of_a_credit_note_are_tracked_too(tracking, invoices):
    region = tracking.put("Region", "North")
    note = invoices.body(Type="ACCRECCREDIT", DueDate=..., LineItems=tracked(named()))
    made = tracking.only(tracking.xero.call("PUT", "CreditNotes", {"CreditNotes": [note]}), "CreditNotes")
    assert entries(made)[0][0]["TrackingCategoryID"] == region["TrackingCategoryID"]
    wrong = {**note, "LineItems": tracked(named("Area"))}
    assert tracking.refusal(tracking.xero.call("PUT", "CreditNotes", {"CreditNotes": [wrong]})) == [NOT_KNOWN]
    deleted = tracking.only(tracking.call("DELETE", f"/{region['TrackingCategoryID']}"))
    assert deleted["Status"] == "ARCHIVED"


def test_a_contact_has_tracking_of_its_own(tracking):
    tracking.put("Region", "North")
    default = {"TrackingCategoryName": "Region", "TrackingOptionName": "North"}
    made = tracking.xero.make(SalesTrackingCategories=[default])
    assert made["SalesTrackingCategories"] == [default]
    assert tracking.xero.get(f"Contacts/{made['ContactID']}")[0]["SalesTrackingCategories"] == [default]
    reply = tracking.xero.put({"Name": "b", "SalesTrackingCategories": [{}]})
    assert tracking.refusal(reply) == [
        "There is no ACTIVE tracking category with the name ''",
        "SalesCategory is missing a TrackingCategoryName",
    ]


def test_xero_python_tracks_a_line(xero, monkeypatch):
    client = Client(xero.line, monkeypatch).log_in()
    api, tenant = client.accounting, client.tenant
    (made,) = api.create_tracking_category(
        tenant, accounting.TrackingCategory(name="Region")
    ).tracking_categories
    category_id = made.tracking_category_id
    (option,) = api.create_tracking_options(
        tenant, category_id, accounting.TrackingOption(name="North")
    ).options
    api.update_tracking_options(
        tenant, category_id, option.tracking_option_id, accounting.TrackingOption(name="Up")
    )
    (found,) = api.get_tracking_categories(tenant).tracking_categories
    assert [(one.name, one.status) for one in found.options] == [("Up", "ACTIVE")]
    theme = api.get_branding_themes(tenant).branding_themes[0]
    tracked_line = LineItem(
        description="Work",
        quantity=1,
        unit_amount=10,
        account_code="200",
        tracking=[
            LineItemTracking(tracking_category_id=category_id, tracking_option_id=option.tracking_option_id)
        ],
    )
    sale = Invoice(type="ACCREC", contact=Contact(name="Acme"), line_items=[tracked_line])
    (invoice,) = api.create_invoices(tenant, accounting.Invoices(invoices=[sale])).invoices
    assert [(one.name, one.option) for one in invoice.line_items[0].tracking] == [("Region", "Up")]
    assert invoice.branding_theme_id == theme.branding_theme_id
    (gone,) = api.delete_tracking_category(tenant, category_id).tracking_categories
    assert gone.status == "ARCHIVED"
    with pytest.raises(AccountingBadRequestException):
        api.create_tracking_category(tenant, accounting.TrackingCategory(name=""))


# -- branding themes


def test_a_sale_gets_the_default_theme_or_the_one_it_names(invoices):
    other = {"BrandingThemeID": UNKNOWN, "Name": "Orange", "SortOrder": 1}
    invoices.xero.load([other])
    themes = invoices.xero.call("GET", "BrandingThemes").json()["BrandingThemes"]
    assert [(one["Name"], one["SortOrder"]) for one in themes] == [("Standard", 0), ("Orange", 1)]
    assert invoices.xero.call("GET", f"BrandingThemes/{UNKNOWN}").json()["BrandingThemes"] == themes[1:]
    assert invoices.xero.call("GET", f"BrandingThemes/{invoices.contact_id}").status_code == 404
    made = invoices.make()
    assert made["BrandingThemeID"] == themes[0]["BrandingThemeID"]
    assert invoices.make(BrandingThemeID=UNKNOWN.upper())["BrandingThemeID"] == UNKNOWN
    wrong = {"InvoiceID": made["InvoiceID"], "BrandingThemeID": invoices.contact_id}
    assert invoices.refusal("POST", **wrong) == [f"The branding theme '{invoices.contact_id}' does not exist"]
    assert "BrandingThemeID" not in invoices.make(Type="ACCPAY")
    invoices.xero.choose(default_theme="absent")
    assert "BrandingThemeID" not in invoices.make()


# -- contact groups


def group_of(xero, name="VIP"):
    reply = xero.call("PUT", "ContactGroups", {"ContactGroups": [{"Name": name}]})
    assert reply.status_code == 200, reply.text
    return reply.json()["ContactGroups"][0]


def members(xero, group):
    reply = xero.call("GET", f"ContactGroups/{group['ContactGroupID']}")
    return [one["Name"] for one in reply.json()["ContactGroups"][0]["Contacts"]]


def test_contacts_enter_and_leave_a_group(xero):
    group, path = group_of(xero), "ContactGroups/{}/Contacts"
    path = path.format(group["ContactGroupID"])
    acme, other = xero.make(), xero.make(Name="Other")
    ids = [{"ContactID": one["ContactID"]} for one in (acme, other)]
    for _ in range(2):  # once is enough
        reply = xero.call("PUT", path, {"Contacts": ids})
    assert [one["ContactID"] for one in reply.json()["Contacts"]] == [one["ContactID"] for one in ids]
    assert members(xero, group) == ["Acme", "Other"]
    shown = xero.get(f"Contacts/{acme['ContactID']}")[0]
    assert ([one["Name"] for one in shown["ContactGroups"]], shown["UpdatedDateUTC"]) == (
        ["VIP"],
        acme["UpdatedDateUTC"],
    )
    xero.call("POST", f"ContactGroups/{group['ContactGroupID']}", {"ContactGroups": [{"Name": "Best"}]})
    assert xero.get(f"Contacts/{acme['ContactID']}")[0]["ContactGroups"][0]["Name"] == "Best"
    assert xero.call("DELETE", f"{path}/{acme['ContactID']}").status_code == 204
    assert xero.call("DELETE", f"{path}/{acme['ContactID']}").status_code == 404
    assert members(xero, group) == ["Other"]
    assert xero.call("DELETE", path).status_code == 204
    assert members(xero, group) == []
    assert xero.call("PUT", path, {"Contacts": [{"ContactID": UNKNOWN}]}).status_code == 400


@pytest.mark.parametrize(("answer", "status"), [("not_found", 404), ("no_content", 204), ("refuse", 400)])
def test_a_contact_that_is_not_in_a_group_leaves_it_by_dialect(xero, answer, status):
    group, acme = group_of(xero), xero.make()
    xero.choose(group_left_again=answer)
    path = f"ContactGroups/{group['ContactGroupID']}/Contacts"
    assert xero.call("DELETE", f"{path}/{acme['ContactID']}").status_code == status
    xero.call("PUT", path, {"Contacts": [{"ContactID": acme["ContactID"]}]})
    assert xero.call("DELETE", f"{path}/{acme['ContactID']}").status_code == 204
    assert members(xero, group) == []


def test_a_group_is_deleted_by_its_status_and_leaves_its_contacts(xero):
    group = group_of(xero)
    acme = xero.make()
    xero.choose(group_moves_stamp=True)
    xero.control("clock", {"move_s": 5})
    path = f"ContactGroups/{group['ContactGroupID']}"
    xero.call("PUT", f"{path}/Contacts", {"Contacts": [{"ContactID": acme["ContactID"]}]})
    assert xero.get(f"Contacts/{acme['ContactID']}")[0]["UpdatedDateUTC"] > acme["UpdatedDateUTC"]
    reply = xero.call("POST", path, {"ContactGroups": [{"Status": "DELETED"}]})
    assert reply.json()["ContactGroups"][0]["Status"] == "DELETED"
    assert xero.call("GET", "ContactGroups").json()["ContactGroups"] == []
    assert xero.get(f"Contacts/{acme['ContactID']}")[0]["ContactGroups"] == []


def test_groups_have_names_of_their_own_and_are_a_hundred_at_most(xero):
    group_of(xero)
    again = xero.call("PUT", "ContactGroups", {"ContactGroups": [{"Name": "vip"}, {"Name": ""}]})
    assert len(again.json()["Elements"]) == 2
    names = [{"Name": f"g{n}"} for n in range(100)]
    reply = xero.call("PUT", "ContactGroups", {"ContactGroups": names}, summarizeErrors="false")
    *_, last = reply.json()["ContactGroups"]
    assert last["ValidationErrors"] == [{"Message": "You’ve reached the limit of 100 contact groups."}]
    assert len(xero.call("GET", "ContactGroups").json()["ContactGroups"]) == 100


def test_xero_python_groups_contacts(xero, monkeypatch):
    client = Client(xero.line, monkeypatch).log_in()
    api, tenant = client.accounting, client.tenant
    groups = accounting.ContactGroups(contact_groups=[ContactGroup(name="VIP")])
    (group,) = api.create_contact_group(tenant, groups).contact_groups
    (acme,) = client.create(Contact(name="Acme"))
    inside = Contacts(contacts=[Contact(contact_id=acme.contact_id)])
    api.create_contact_group_contacts(tenant, group.contact_group_id, inside)
    (read,) = api.get_contact_group(tenant, group.contact_group_id).contact_groups
    assert [one.name for one in read.contacts] == ["Acme"]
    api.delete_contact_group_contact(tenant, group.contact_group_id, acme.contact_id)
    assert api.get_contact_group(tenant, group.contact_group_id).contact_groups[0].contacts == []
