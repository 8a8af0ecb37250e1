"""Fills both systems: with the demo's two books, or with made-up parties whose true links are known."""

from __future__ import annotations

import json
from pathlib import Path

from sandbox.clock import Clock
from sandbox.salesforce.org import load as load_salesforce
from sandbox.seeds import demo, generator
from sandbox.seeds.books import Books
from sandbox.store import Store
from sandbox.xero.app import load as load_xero

__all__ = ["WrongSeed", "books_of", "load"]


class WrongSeed(ValueError):
    """The name of a seed that there is not."""


def books_of(name: str) -> Books:
    """Both books by name: demo, empty or parties:N:SEED:DIRT; the same name gives the same records."""
    if name == "demo":
        return demo.books()
    if name == "empty":
        return Books([], [], [])
    kind, *options = name.split(":")
    try:
        count, seed, dirt = int(options[0]), int(options[1]), float(options[2])
    except (IndexError, ValueError):
        count, seed, dirt = 0, 0, 0.0
    if kind != "parties" or len(options) != 3 or count < 1 or not 0 <= dirt <= 1:
        raise WrongSeed(f"no seed {name!r}; there are: demo, empty, parties:N:SEED:DIRT (dirt from 0 to 1)")
    return generator.books(count, seed, dirt)


def load(name: str, xero_store: Store, salesforce_store: Store, clock: Clock) -> None:
    """Fill both stores, and write the true links beside them where no client of the servers sees them."""
    made = books_of(name)
    with salesforce_store.transaction():
        load_salesforce(salesforce_store, clock, made.salesforce)
    with xero_store.transaction():
        load_xero(xero_store, clock, made.xero)
    if ":memory:" not in (xero_store.path, salesforce_store.path):
        lines = (json.dumps(link) + "\n" for link in made.links)
        Path(xero_store.path).with_name("truth.jsonl").write_text("".join(lines), encoding="utf-8")
