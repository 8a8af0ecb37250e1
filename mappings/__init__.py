"""The mappings that come with the package: the default, the demo's, and templates to extend."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def library() -> dict[str, str]:
    """Give the text of each shipped mapping by its name ("default", "demo" ...), for `extends`."""
    shipped = [entry for entry in files("mappings").iterdir() if entry.name.endswith(".yaml")]
    return {entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8") for entry in shipped}
