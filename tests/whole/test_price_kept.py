"""What a plan said that it would cost in calls is what it took, on the demo's books."""

from __future__ import annotations

import re
import time
from pathlib import Path

from whole_pair import running

from pipelines import runs


def test_a_push_takes_the_calls_that_its_plan_named(tmp_path: Path) -> None:
    with running(tmp_path / "pair") as pair:
        pair.enable_writes()
        pair.set("audit", history="all")
        pair.set("limits", xero_gb_price="240000")
        planned = pair.plan()
        marks = pair.marks()
        with pair.opened() as ctx:
            first = runs.apply(ctx, runs.load_plan(ctx, planned.hash), phases=("link",), approved=True)
            assert first.calls == first.priced
            # A guarded write looks once more at what was edited in the very second of its look: here, our links.
            time.sleep(1.1)
            second = runs.apply(ctx, runs.load_plan(ctx, planned.hash), approved=True)
        assert planned.cost["xero"] > 2
        assert second.calls == second.priced, (second.calls, second.priced)
        counted = {side: len(pair.requests(side, after=marks[side])) for side in marks}
        assert counted == {side: first.calls[side] + second.calls[side] for side in marks}
        text = pair.command("show").out
        assert "Calls it will cost: Salesforce" in text
        assert "Bytes that will come, about: Salesforce" in text
        # An estimate, which is no more than that in a small book.
        said, took = first.traffic_priced["xero"]["received"], first.traffic["xero"]["received"]
        assert 0.5 <= said / took <= 2, (said, took)
        assert re.search(r"beyond your tier Xero bills \d+\.\d\d AUD for them", text)
