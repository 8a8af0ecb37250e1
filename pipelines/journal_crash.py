"""Numbered points at which a test may stop this process: before and after each commit and each send.

RECONCILE_CRASH_AT=n kills at the n-th point (SIGKILL: nothing is tidied up), RECONCILE_STOP_AT=n halts there
(SIGSTOP: it goes on when somebody sends SIGCONT). RECONCILE_CRASH_COUNT=FILE keeps in that file how many
points were passed. Without any of them, a point costs three look-ups.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Final

AT: Final = {"RECONCILE_CRASH_AT": signal.SIGKILL, "RECONCILE_STOP_AT": signal.SIGSTOP}
COUNT: Final = "RECONCILE_CRASH_COUNT"
_passed = 0


def point() -> None:
    """Count, and end or halt here if this is the one."""
    wanted = {name: os.environ[name] for name in AT if name in os.environ}
    count = os.environ.get(COUNT)
    # Other threads (the heartbeat) don't count: their order varies, and the numbers must not.
    if (not wanted and not count) or threading.current_thread() is not threading.main_thread():
        return
    global _passed
    _passed += 1
    if count:
        Path(count).write_text(str(_passed), encoding="utf-8")
    for name, at in wanted.items():
        if at and _passed == int(at):
            os.kill(os.getpid(), AT[name])
