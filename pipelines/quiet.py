"""Telemetry off and noise down: imported before any library that would phone home."""

from __future__ import annotations

import logging
import os
from typing import Final

SETTINGS: Final = {
    "GX_ANALYTICS_ENABLED": "false",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # dlt would leave each load's rows behind as clear Parquet files.
    "LOAD__DELETE_COMPLETED_JOBS": "true",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    # A local file does not get better by asking again; dlt would sleep for 20 s over a full disk.
    "LOAD__RAISE_ON_MAX_RETRIES": "1",
}

# The one module that works at import: these libraries read the environment while they are imported.
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)

for _logger in ("httpx", "httpcore"):  # at INFO they print addresses with their queries
    logging.getLogger(_logger).setLevel(logging.WARNING)
