"""One pair, open for work: settings, journal, clients, warehouse, mapping, lease."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mappings
from pipelines.clients import Clients, open_clients
from pipelines.journal import Journal, Lease, open_journal
from pipelines.settings import Settings, load_settings
from reconcile.errors import (
    FixMapping,
    FixSettings,
)
from reconcile.mapping import Mapping as FieldMapping
from reconcile.mapping import load_mapping

if TYPE_CHECKING:
    from pipelines.warehouse import Warehouse


Progress = Callable[[str], None]


def now() -> datetime:
    return datetime.now(UTC)


class Context:
    """One pair, open for work: its settings, journal, clients, warehouse and mapping."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        clients: Clients,
        progress: Progress,
        *,
        now: Callable[[], datetime] = now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings, self.journal, self.clients, self.progress = settings, journal, clients, progress
        self.now, self.sleep = now, sleep
        self._lease: Lease | None = None

    @cached_property
    def mapping(self) -> FieldMapping:
        file = self.settings.mapping.file
        if file is None:
            return load_mapping(
                mappings.library()["default"], name="default.yaml", library=mappings.library()
            )
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FixMapping(
                f"{file}: can't be read: {error}. Correct mapping.file in the settings."
            ) from None
        return load_mapping(text, name=str(file), library=mappings.library())

    @property
    def plans_folder(self) -> Path:
        return self.settings.pair.data_dir / "plans"

    @property
    def certificates(self) -> Path:
        return self.settings.pair.data_dir / "certificates"

    @property
    def published(self) -> Path:
        return self.settings.pair.data_dir / "published.duckdb"

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        from pipelines.warehouse import Warehouse

        key = self.settings.warehouse.key.get_secret_value()
        with Warehouse(self.settings.warehouse_path, key) as opened:
            yield opened

    @contextmanager
    def leased(self) -> Iterator[Lease]:
        """Hold the pair's lease; a stage within a stage uses the one that is held."""
        if self._lease is not None:
            yield self._lease
            return
        holder = f"{getpass.getuser()}@{socket.gethostname()} process {os.getpid()}"
        limits = self.settings.limits
        with self.journal.lease(
            self.settings.pair.name, holder, limits.lease_s, wait_s=limits.lease_wait_s
        ) as lease:
            self._lease = lease
            try:
                yield lease
            finally:
                self._lease = None

    @contextmanager
    def run(self, kind: str, **details: str) -> Iterator[dict[str, Any]]:
        """Write one run into the journal: what it was, how it ended, what it cost."""
        run_id = self.journal.start_run(kind, details=details)
        told: dict[str, Any] = {"run_id": run_id, "counts": {}}
        state, before = "failed", self.clients.calls()
        try:
            yield told
            state = "done"
        finally:
            calls = {side: count - before.get(side, 0) for side, count in self.clients.calls().items()}
            self.journal.end_run(run_id, state, counts=told["counts"], calls=calls)


@contextmanager
def open_context(settings_file: Path, *, progress: Progress, offline: bool = False) -> Iterator[Context]:
    """Open the pair of a settings file; `offline` commands don't look at the pins."""
    settings = load_settings(settings_file)
    with opened(settings, progress=progress) as ctx:
        if not offline:
            _check_environment(ctx)
        yield ctx


@contextmanager
def opened(settings: Settings, *, progress: Progress) -> Iterator[Context]:
    try:
        settings.pair.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FixSettings(
            f"pair.data_dir: found {settings.pair.data_dir} ({error.strerror}), expected a folder of ours, "
            "or a place where one may be made. Correct the setting, or move away what is there."
        ) from None
    with open_journal(settings) as journal, open_clients(settings, journal.tokens) as clients:
        journal.bind(settings.pair.name)
        yield Context(settings, journal, clients, progress)


def _check_environment(ctx: Context) -> None:
    pair = ctx.settings.pair
    enabled = ctx.journal.writes_enabled(pair.name)
    if enabled and enabled != pair.environment:
        raise FixSettings(
            f"pair.environment: found {pair.environment!r}, expected {enabled!r}, "
            "for which writes were enabled. Correct the setting, or enable writes anew."
        )
