"""Fills both systems: with the demo's two books, or with made-up parties whose true links are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

from sandbox.clock import Clock
from sandbox.salesforce.org import load as load_salesforce
from sandbox.seeds import demo, generator, orders
from sandbox.seeds.books import Books
from sandbox.store import Store
from sandbox.xero.app import load as load_xero

__all__ = ["WrongSeed", "books_of", "load"]


class WrongSeed(ValueError):
    """The name of a seed that there is not."""


FORMS = "demo, empty, parties:N:SEED:DIRT[:DEALS] (dirt from 0 to 1), sales:N:SEED[:ORDERS]"


def books_of(name: str) -> Books:
    """Both books by the name of a seed; the same name gives the same records."""
    if name == "demo":
        return demo.books()
    if name == "empty":
        return Books([], [], [])
    kind, *options = name.split(":")
    try:
        if kind == "parties" and len(options) in (3, 4):
            return _parties(name, *options)
        if kind == "sales" and len(options) in (2, 3) and int(options[0]) > 0:
            return _sales(name, *options)
    except ValueError:
        pass
    raise WrongSeed(f"no seed {name!r}; there are: {FORMS}")


def _parties(name: str, count: str, seed: str, dirt: str, deals: str = "0") -> Books:
    if int(count) < 1 or not 0 <= float(dirt) <= 1 or int(deals) < 0:
        raise ValueError
    made = generator.books(int(count), int(seed), float(dirt))
    return generator.with_deals(made, name, int(deals)) if int(deals) else made


def _sales(name: str, count: str, seed: str, wanted: str = "0") -> Books:
    if int(wanted) < 0:
        raise ValueError
    made = generator.sales_books(int(count), int(seed))
    more = orders.made_up(Random(name), made.salesforce, int(wanted))
    return replace(made, salesforce=[*made.salesforce, *more])


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
