"""The commit at hand: what seeds and turns follow from, and what results are kept under."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_at_hand() -> str:
    """Give its whole hash; zeros where there is none."""
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() if told.returncode == 0 else "0" * 40
