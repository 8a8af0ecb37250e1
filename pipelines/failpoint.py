"""Dies on purpose at a numbered point of a pull, so that a test can see what is left.

RECONCILE_PULL_CRASH_AT=n kills the process, as a power cut would, at the n-th point that it passes.
"""

from __future__ import annotations

import os
import signal
from typing import Final

AT: Final = "RECONCILE_PULL_CRASH_AT"
_passed = 0


def point(name: str) -> None:
    """Pass a point; `name` is for whoever reads the code."""
    global _passed
    wanted = os.environ.get(AT)
    if wanted is None:
        return
    _passed += 1
    if _passed == int(wanted):
        os.kill(os.getpid(), signal.SIGKILL)


def passed() -> int:
    """Give how many points were passed so far; counted only while the variable is set."""
    return _passed
