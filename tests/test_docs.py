"""The documents keep up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from flows.cli import reconcile
from pipelines.settings import Settings

ROOT = Path(__file__).parent.parent
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))


def test_every_test_that_guards_an_invariant_exists():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
    missing = [name for name in named if f"def {name}(" not in TESTS]
    assert len(named) > 20 and not missing


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_every_path_that_a_document_names_exists(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_]+/)+[\w./-]*|\w+\.(?:yaml|toml|md))`", text)
    ours = [name for name in named if name not in ("reconcile.toml", "mapping.yaml")]
    assert ours and [name for name in ours if not (ROOT / name).exists()] == []


def test_every_command_is_documented():
    documents = "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/scripting.md")
    )
    commands = [name for name, one in reconcile.commands.items() if isinstance(one, click.Command)]
    assert [name for name in commands if not re.search(rf"\b{name}\b", documents)] == []


def test_every_command_that_a_document_shows_exists():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/scripting.md"))
    shown = set(re.findall(r"`reconcile ([a-z-]+)", text))
    assert shown and shown <= set(reconcile.commands)


def test_every_setting_stands_in_the_reference():
    reference = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    keys = [
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]
    assert [key for key in keys if f"`{key}`" not in reference] == []
