"""The journal's tables. Times are ISO text in UTC, so that they sort and mean the same in every database.

A column that may hold a value of a person is of bytes, sealed by `journal_cipher`; all others hold
ids, counts, hashes and words of ours.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

REVISION: Final = "0003"  # the newest script in migrations/versions
LIVE: Final = ("sending", "unknown")  # an intent whose outcome is not known

schema = MetaData()

meta = Table(
    "meta",
    schema,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    schema,
    Column("run_id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("holder", String(200), nullable=False),
    Column("started_at", String(40), nullable=False, index=True),
    Column("ended_at", String(40)),
    Column("counts", Text, nullable=False),
    Column("calls", Text, nullable=False),
    Column("details", Text, nullable=False),
)

leases = Table(
    "leases",
    schema,
    Column("pair", String(200), primary_key=True),
    Column("fencing", BigInteger, nullable=False),
    Column("holder", String(200), nullable=False),
    Column("process", String(200), nullable=False),  # machine, pid and when it was started
    Column("taken_at", String(40), nullable=False),
    Column("expires_at", String(40)),  # null: free
    Column("seconds", Float),  # how long it lives from each beat
    Column("beat_s", Float),  # the last beat on the machine's own clock, which counts from its start
)

plans = Table(
    "plans",
    schema,
    Column("plan_hash", String(64), primary_key=True),
    Column("state", String(32), nullable=False),
    Column("manifest", Text, nullable=False),
    Column("created_at", String(40), nullable=False, index=True),
    Column("updated_at", String(40), nullable=False),
)

outcomes = Table(
    "outcomes",
    schema,
    Column("plan_hash", String(64), primary_key=True),
    Column("operation_id", String(64), primary_key=True),
    Column("system", String(16), nullable=False),
    Column("entity", String(16), nullable=False),
    Column("record_id", String(80)),
    Column("link_id", String(200)),
    Column("unit", String(80)),
    Column("phase", String(16)),
    Column("action", String(16)),
    Column("outcome", String(16), nullable=False),
    Column("message", Text),
    Column("written", LargeBinary),  # sealed: the piece before and after
    Column("at", String(40), nullable=False),
    Index("outcomes_by_unit", "link_id", "unit", "at"),
)

requests = Table(
    "requests",
    schema,
    Column("request_id", String(64), primary_key=True),
    Column("system", String(16), nullable=False),
    Column("method", String(8), nullable=False),
    Column("path", Text, nullable=False),
    Column("idempotency_key", String(128), unique=True),
    Column("body", LargeBinary, nullable=False),  # sealed: the exact bytes
    Column("sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # sending, unknown, answered, not_sent
    Column("sends", Integer, nullable=False),
    Column("first_sent_at", String(40)),
    Column("last_sent_at", String(40)),
    Column("burnt", Boolean, nullable=False),  # the vendor keeps a failure under this key
    Column("fencing", BigInteger, nullable=False),
    Column("status", Integer),
    Column("created_at", String(40), nullable=False),
)

# Of a request that goes as a job: kept before the job is closed, and so before it can write.
jobs = Table(
    "jobs",
    schema,
    Column("request_id", String(64), primary_key=True),
    Column("job_id", String(80), nullable=False),
    Column("made_at", String(40), nullable=False),  # by the vendor's clock
    Column("state", String(16)),  # in which it was seen to be over
    Column("over_at", String(40)),  # null: it may write
)

intents = Table(
    "intents",
    schema,
    Column("intent_id", String(64), primary_key=True),
    Column("business_key", String(200), nullable=False),
    Column("request_id", String(64), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("plan_hash", String(64), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("system", String(16), nullable=False),
    Column("entity", String(16), nullable=False),
    Column("object", String(80), nullable=False),
    Column("action", String(16), nullable=False),
    Column("record_id", String(80)),
    Column("natural_key", String(255)),
    Column("content", LargeBinary, nullable=False),  # sealed: the operations and their pieces
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fencing", BigInteger, nullable=False),
    Column("result_id", String(80)),
    Column("created_at", String(40), nullable=False),
    Column("ended_at", String(40)),
    # At most one live intent for a business key, whoever asks.
    Index(
        "one_live_intent",
        "business_key",
        unique=True,
        sqlite_where=text("state in ('sending', 'unknown')"),
        postgresql_where=text("state in ('sending', 'unknown')"),
    ),
    Index("intents_by_state", "state"),
)

links = Table(
    "links",
    schema,
    Column("link_id", String(200), primary_key=True),
    Column("sequence", BigInteger, nullable=False, index=True),
    Column("entity", String(16), nullable=False),
    Column("salesforce_id", String(80), index=True),
    Column("xero_id", String(80), index=True),
    Column("status", String(16), nullable=False),
    Column("rule", String(64)),
    Column("score", Float),
    Column("evidence", Text),
    Column("made_by", String(200)),
    Column("held_from", String(40), nullable=False),
    Column("held_to", String(40)),  # null: it holds
)

bases = Table(
    "bases",
    schema,
    Column("link_id", String(200), primary_key=True),
    Column("side", String(16), primary_key=True),
    Column("sequence", BigInteger, nullable=False, index=True),
    Column("units", LargeBinary, nullable=False),  # sealed: all units as JSON
)

decisions = Table(
    "decisions",
    schema,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("entity", String(16), nullable=False),
    Column("salesforce_id", String(80)),
    Column("xero_id", String(80)),
    Column("unit", String(80)),
    Column("fingerprint", Text),
    Column("made_by", String(200), nullable=False),
    Column("made_at", String(40), nullable=False),
)

tokens = Table(
    "tokens",
    schema,
    Column("side", String(16), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),  # sealed, and never without a key
    Column("updated_at", String(40), nullable=False),
)

dead_letters = Table(
    "dead_letters",
    schema,
    Column("operation_id", String(64), primary_key=True),
    Column("system", String(16), nullable=False),
    Column("entity", String(16), nullable=False),
    Column("unit", String(80)),
    Column("record_id", String(80)),
    Column("message", Text),
    Column("times", Integer, nullable=False),
    Column("first_at", String(40), nullable=False),
    Column("last_at", String(40), nullable=False),
)

inbox = Table(
    "inbox",
    schema,
    Column("event_id", String(200), primary_key=True),
    Column("side", String(16), nullable=False),
    Column("object", String(80), nullable=False),
    Column("record_id", String(80), nullable=False),
    Column("received_at", String(40), nullable=False),
    Column("done_at", String(40)),
)

audit = Table(
    "audit",
    schema,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("details", Text, nullable=False),
    Column("wrote", Text),  # table -> key -> sha256 of the row, null where it went; null before 0002
    Column("hash", String(64), nullable=False),
)

# Whose rows the audit chain vouches for. A lease's beat would fill the chain: of it only the fencing number
# is logged. Tokens come and go, and are authenticated where they are sealed.
COVERED: Final = (meta, runs, plans, outcomes, requests, jobs, intents, links, bases, decisions, dead_letters)
AUDIT_HEAD: Final = "audit_head"  # the one row of meta that can't be in the chain: it is the chain's end

# What is sealed: table -> its sealed column and the columns that name its row.
SEALED: Final = {
    "tokens": ("value", ("side", "kind")),
    "requests": ("body", ("request_id",)),
    "intents": ("content", ("intent_id",)),
    "bases": ("units", ("link_id", "side")),
    "outcomes": ("written", ("plan_hash", "operation_id")),
}
