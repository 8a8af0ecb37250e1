"""Settings of the properties in this room: no deadline, because the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("reconcile", deadline=None)
settings.load_profile("reconcile")
