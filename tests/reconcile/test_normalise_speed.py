"""Ten thousand accounts become canonical in seconds; `make test` leaves room for a busy machine."""

from __future__ import annotations

import time

from mapped_records import account, default, raw

from reconcile.normalise import canonicalise


def test_ten_thousand_accounts_take_a_few_seconds_of_work() -> None:
    blank = account()
    rows = raw(
        *(
            {
                **blank,
                "Id": f"001A{number:011d}AAA",
                "Name": f"Company {number}",
                "Phone": f"020 7946 {number:04d}",
                "BillingStreet": f"{number} High St\nLevel 2",
                "BillingCity": "London",
                "BillingCountry": "UK",
            }
            for number in range(10_000)
        ),
        side="salesforce",
    )
    observed = default().fields("salesforce")
    started = time.process_time()
    canonical = canonicalise(rows, default(), "salesforce", observed=observed, region="GB")
    assert time.process_time() - started < 3 * 2  # both cores count
    assert len(canonical.values) == 10_000 * len(default().units)
    assert len(canonical.rejects) == 0
