"""A sandbox for each test that asks for one; and one that several tests may share when they only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import Peer, settings_for

from sandbox.serve import start


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    with start(tmp_path / "sandbox", seed="empty") as line:
        yield Peer(line, tmp_path, settings_for(line, tmp_path))
