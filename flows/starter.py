"""Writes the settings file that a new pair starts from."""

from __future__ import annotations

import os
from pathlib import Path

from reconcile.errors import FixSettings

STARTER = """\
# The settings of one pair: one Salesforce org and one Xero organisation.
# Each key can also come from the environment, which wins: RECONCILE_XERO__CLIENT_SECRET and so on.
# Keep secrets there, or in a file that only you can read; never in version control.

[pair]
name = "{pair}"
environment = "sandbox"          # or "production"; `enable-writes` must name the same
data_dir = ".reconcile/{pair}"   # journal, warehouse, plans and reports: a folder for each pair
region = "GB"                    # ISO country in which a phone number without a prefix is read

[salesforce]
login_url = "https://acme.my.salesforce.com"   # your My Domain; a sandbox has one of its own
auth = "jwt"                                   # or "client_credentials"
client_id = ""                                 # of an External Client App
username = ""                                  # jwt: the integration user
private_key_file = "salesforce.pem"            # jwt: the key whose certificate the app knows
# client_secret = ""                           # client_credentials
# audience = "https://login.salesforce.com"    # jwt: "https://test.salesforce.com" for a sandbox
api_version = "67.0"

[xero]
auth = "client_credentials"      # a custom connection; or "refresh_token"
client_id = ""
# client_secret = ""             # better: RECONCILE_XERO__CLIENT_SECRET
tenant_id = ""                   # the organisation's id; a custom connection may leave it empty
scopes = "accounting.contacts.read accounting.settings.read"   # to write: accounting.contacts, accounting.invoices

[journal]
# url = "postgresql+psycopg://..."   # empty: SQLite in data_dir
# key: 64 hex digits, from outside: RECONCILE_JOURNAL__KEY (openssl rand -hex 32).
# It encrypts tokens, requests and values; without it tokens are not kept between runs.

[limits]
max_operations = 5000            # a larger plan needs approval of its hash
max_share = 0.5                  # likewise: share of the linked records of one system
plan_expires_h = 24
xero_calls_a_minute = 60
xero_day_reserve = 0.1           # share of the day's calls that is left to other apps
salesforce_day_reserve = 0.2

[pull]
full_every_h = 168               # some changes move no cursor: everything is read again this often

[mapping]
# file = "mapping.yaml"          # empty: the default that comes with the package (docs/mapping.md)
"""


def write_settings(path: Path, *, pair: str) -> None:
    """Write the commented file, readable by its owner alone; never over one that exists.

    Raises FixSettings where it exists or can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FixSettings(
            f"{path}: there is one already, and it is left as it is. Name another by --settings."
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(STARTER.format(pair=pair))
