"""One adopted pair for the whole room: each test begins with a copy of its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_pair import Pair, copy_of, running


@pytest.fixture(scope="session")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's pair after adoption, at rest."""
    folder = tmp_path_factory.mktemp("adopted")
    with running(folder) as pair:
        pair.enable_writes()
        pair.adopt()
    return folder


@pytest.fixture
def pair(adopted: Path, tmp_path: Path) -> Iterator[Pair]:
    """Two books in agreement."""
    with copy_of(adopted, tmp_path / "pair") as pair:
        yield pair


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Pair]:
    """The demo's two books before any contact."""
    with running(tmp_path / "pair") as pair:
        yield pair
