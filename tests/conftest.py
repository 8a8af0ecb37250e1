"""What all tests share: how Hypothesis looks for counter-examples."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: a loaded machine is not a failed property. In CI the examples are the same in every run.
settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("house")
