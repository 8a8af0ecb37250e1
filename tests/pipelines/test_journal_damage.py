"""A journal that is cut off or flipped somewhere is noticed, and nothing is made twice; `make damage` has 2,000."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import damage_journal

SEED = 20261124


@pytest.mark.in_turn(2)
@pytest.mark.timeout(280)
def test_damage_at_sixty_places_is_noticed_and_nothing_is_made_twice(tmp_path: Path) -> None:
    tally = damage_journal.sweep(60, 5, SEED, tmp_path, say=lambda *_, **__: None)
    assert tally.bad == []
    ends = {end for _, _, end in tally.found}
    assert {
        "noticed when it was opened",
        "noticed before anything was sent",
        "holds exactly what it held",
    } <= ends
    assert sum(tally.again.values()) == 5
