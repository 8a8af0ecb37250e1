"""Numbered points at which a test may kill this process: before and after each commit and each send.

RECONCILE_CRASH_AT=n kills at the n-th point (SIGKILL: nothing is tidied up). RECONCILE_CRASH_COUNT=FILE
keeps in that file how many points were passed. Without either, a point costs one look-up.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

_passed = 0


def point() -> None:
    """Count, and die here if this is the one."""
    # Other threads (the heartbeat) don't count: their order varies, and the numbers must not.
    at, count = os.environ.get("RECONCILE_CRASH_AT"), os.environ.get("RECONCILE_CRASH_COUNT")
    if (not at and not count) or threading.current_thread() is not threading.main_thread():
        return
    global _passed
    _passed += 1
    if count:
        Path(count).write_text(str(_passed), encoding="utf-8")
    if at and _passed == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
