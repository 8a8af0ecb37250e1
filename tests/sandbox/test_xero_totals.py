"""What an invoice comes to: known cases by hand, and any case against fractions of whole numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIFTEEN = {
    "Name": "15%",
    "TaxType": "TAX015",
    "ReportTaxType": "OUTPUT",
    "TaxComponents": [{"Name": "GST", "Rate": 15}],
}


class Till:
    """Makes invoices from texts of JSON, so that no number passes through a float."""

    def __init__(self, xero):
        self.xero = xero
        self.contact_id = xero.make()["ContactID"]
        xero.load([FIFTEEN])

    def make(self, lines, amounts="Exclusive", **query):
        body = (
            f'{{"Type":"ACCREC","Contact":{{"ContactID":"{self.contact_id}"}},"Date":"2026-11-24",'
            f'"LineAmountTypes":"{amounts}","LineItems":[{",".join(lines)}]}}'
        )
        reply = self.xero.http.put(
            "/api.xro/2.0/Invoices", content=body, headers=self.xero.headers, params=query
        )
        assert reply.status_code == 200, reply.text
        return json.loads(reply.text, parse_float=Decimal)["Invoices"][0]


@pytest.fixture
def till(xero):
    return Till(xero)


def line(price, quantity="1", tax="TAX015", more=""):
    return (
        f'{{"Description":"x","AccountCode":"200","TaxType":"{tax}",'
        f'"UnitAmount":{price},"Quantity":{quantity}{more}}}'
    )


def sums(invoice):
    return tuple(str(invoice[name]) for name in ("SubTotal", "TotalTax", "Total"))


def taxes(invoice):
    return [str(one["TaxAmount"]) for one in invoice["LineItems"]]


@pytest.mark.parametrize(
    ("prices", "amounts", "tax", "total"),
    [
        # documented: rounded line by line, then summed; 11.445 at once would be 11.45
        (["25.06", "25.61", "25.63"], "Exclusive", ["3.76", "3.84", "3.84"], ("76.30", "11.44", "87.74")),
        # recorded
        (["541.25"], "Inclusive", ["70.60"], ("470.65", "70.60", "541.25")),
        (["500"], "Inclusive", ["65.22"], ("434.78", "65.22", "500.00")),
        (["21.00"], "Exclusive", ["3.15"], ("21.00", "3.15", "24.15")),
        (["21.00"], "NoTax", ["0.00"], ("21.00", "0.00", "21.00")),
        (["-21.00"], "Exclusive", ["-3.15"], ("-21.00", "-3.15", "-24.15")),
    ],
)
def test_known_invoices_come_to_known_sums(till, prices, amounts, tax, total):
    made = till.make([line(price) for price in prices], amounts)
    assert (taxes(made), sums(made)) == (tax, total)


def test_a_tie_goes_away_from_zero_or_to_the_even_digit(till):
    lines = [line("0.50", tax="RROUTPUT"), line("-0.50", tax="RROUTPUT")]  # 5%: 0.025
    assert taxes(till.make(lines)) == ["0.03", "-0.03"]
    till.xero.choose(rounding_ties="half_even")
    assert taxes(till.make(lines)) == ["0.02", "-0.02"]


def test_tax_may_be_rounded_once_for_each_rate(till):
    till.xero.choose(total_tax="on_total")
    made = till.make([line(price) for price in ("25.06", "25.61", "25.63")])
    assert sums(made) == ("76.30", "11.45", "87.75")
    assert taxes(made) == ["3.76", "3.84", "3.84"]


@pytest.mark.parametrize(
    ("more", "amount", "discount"),
    [
        (',"DiscountRate":10', "27.00", "3.00"),
        (',"DiscountRate":33.333', "20.00", "10.00"),
        (',"DiscountAmount":4.5', "25.50", "4.50"),
        (',"DiscountRate":100', "0.00", "30.00"),
        ("", "30.00", None),
    ],
)
def test_discounts_come_off_before_tax(till, more, amount, discount):
    made = till.make([line("10", "3", more=more)])
    assert str(made["SubTotal"]) == amount
    assert (str(made["TotalDiscount"]) if discount else made.get("TotalDiscount")) == discount
    assert made["IsDiscounted"] is (discount is not None)


def test_a_price_has_two_places_unless_four_are_asked_for(till):
    two, four = (till.make([line("0.0149", "1000")], **query) for query in ({}, {"unitdp": "4"}))
    assert (str(two["LineItems"][0]["UnitAmount"]), str(two["SubTotal"])) == ("0.01", "10.00")
    assert (str(four["LineItems"][0]["UnitAmount"]), str(four["SubTotal"])) == ("0.0149", "14.90")
    read = till.xero.call("GET", f"Invoices/{four['InvoiceID']}").text
    assert '"UnitAmount":0.01,' in read
    read = till.xero.call("GET", f"Invoices/{four['InvoiceID']}", unitdp=4).text
    assert '"UnitAmount":0.0149,' in read


@pytest.mark.parametrize(("rule", "price"), [("round", "1.01"), ("cut", "1.00")])
def test_more_places_are_rounded_or_cut(till, rule, price):
    till.xero.choose(price_places=rule)
    assert str(till.make([line("1.009")])["LineItems"][0]["UnitAmount"]) == price


def test_of_quantity_price_and_amount_one_may_be_missing(till):
    def made(**fields):
        text = "".join(f',"{name}":{value}' for name, value in fields.items())
        (one,) = till.make([f'{{"Description":"x","AccountCode":"200"{text}}}'])["LineItems"]
        return tuple(str(one.get(name)) for name in ("Quantity", "UnitAmount", "LineAmount"))

    assert made(Quantity="4", LineAmount="10") == ("4.0000", "2.50", "10.00")
    assert made(UnitAmount="2.5", LineAmount="10") == ("4.0000", "2.50", "10.00")
    assert made(UnitAmount="2.5") == ("1.0000", "2.50", "2.50")
    assert made(LineAmount="9.99") == ("1.0000", "9.99", "9.99")
    assert made() == ("None", "None", "0.00")  # spec: a description alone


def test_tax_that_is_sent_takes_the_place_of_tax_that_is_reckoned(till):
    assert sums(till.make([line("100", more=',"TaxAmount":14.99')])) == ("100.00", "14.99", "114.99")


def test_an_account_gives_the_tax_type_where_none_is_sent(till):
    (one,) = till.make(['{"Description":"x","AccountCode":"200","UnitAmount":10}'])["LineItems"]
    assert (one["TaxType"], str(one["TaxAmount"])) == ("OUTPUT2", "2.00")


def test_numbers_are_exact_on_the_wire(till):
    made = till.make([line("9999999999.99", "99.9999")])
    assert str(made["SubTotal"]) == "999998999999.00"  # 9999999999.99 x 99.9999 = 999998999998.990001
    text = till.xero.call("GET", f"Invoices/{made['InvoiceID']}").text
    assert '"Quantity":99.9999,' in text
    assert '"UnitAmount":9999999999.99,' in text


# -- any case, by another way of reckoning: whole numbers and fractions, no Decimal


def to_cents(value, *, even):
    """The nearest whole number of cents; a tie away from zero, or to the even one."""
    cents = value * 100
    down = abs(cents).__floor__()
    rest = abs(cents) - down
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (not even or down % 2 == 1))
    return (down + up) * (1 if cents >= 0 else -1)


RATES = {"OUTPUT2": 20, "RROUTPUT": 5, "TAX015": 15, "TAX001": Fraction(25, 2), "ZERORATEDOUTPUT": 0}
LINES = st.lists(
    st.tuples(
        st.integers(-(10**7), 10**7),  # price in cents
        st.integers(0, 10**7),  # quantity in ten thousandths
        st.sampled_from([0, 1, 5, 10, 25, 100]) | st.integers(0, 100),  # discount in percent
        st.sampled_from(sorted(RATES)),
    ),
    min_size=1,
    max_size=5,
)


def texts(cents, places):
    return f"{'-' if cents < 0 else ''}{abs(cents) // 10**places}.{abs(cents) % 10**places:0{places}}"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.sampled_from(["Exclusive", "Inclusive", "NoTax"]), st.booleans())
def test_any_invoice_comes_to_the_sums_of_its_rounded_lines(till, lines, amounts, even):
    till.xero.choose(rounding_ties="half_even" if even else "half_up")
    made = till.make(
        [
            line(texts(price, 2), texts(quantity, 4), tax, f',"DiscountRate":{discount}' if discount else "")
            for price, quantity, discount, tax in lines
        ],
        amounts,
    )
    value = tax_sum = 0
    for (price, quantity, discount, tax), shown in zip(lines, made["LineItems"], strict=True):
        exact = Fraction(price, 100) * Fraction(quantity, 10_000) * Fraction(100 - discount, 100)
        cents = to_cents(exact, even=even)
        rate = Fraction(RATES[tax])
        part = rate / (100 + rate) if amounts == "Inclusive" else rate / 100
        tax_cents = 0 if amounts == "NoTax" else to_cents(Fraction(cents, 100) * part, even=even)
        assert (Fraction(shown["LineAmount"]), Fraction(shown["TaxAmount"])) == (
            Fraction(cents, 100),
            Fraction(tax_cents, 100),
        )
        value, tax_sum = value + cents, tax_sum + tax_cents
    subtotal = value - tax_sum if amounts == "Inclusive" else value
    expected = [Fraction(sum_, 100) for sum_ in (subtotal, tax_sum, subtotal + tax_sum)]
    assert [Fraction(one) for one in sums(made)] == expected
    assert Fraction(made["AmountDue"]) == expected[2]
