"""The rules by which a write is made once: what may leave, what a look proves, what comes next.

Pure: times and rows come in, a decision or an InvariantBroken comes out. The push asks it, the journal
asks it again inside its transactions, and `tests/model` runs it a million times. The story, the tables
and what can't be prevented: `docs/protocol.md`, whose numbers (P1 ...) stand here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from reconcile.errors import InvariantBroken

if TYPE_CHECKING:
    from pipelines.intents import Ended, Intent, Request
    from pipelines.journal_intents import Sent

KEY_LIVES_S: Final = 360.0  # Xero keeps a key for six minutes from the first call
SKEW_S: Final = 30.0  # what clocks, and the way to the vendor, may be apart
REPEATS: Final = 3  # of the same bytes under the same key
ATTEMPTS: Final = 3  # at one operation in one push; then a person is asked
OLD_S: Final = 30.0  # older than this, a look is no ground to write on
LATE_LISTED_S: Final = 60.0  # so much later than its stamp may a record be listed, once a push is under way
JOB_PATIENCE_S: Final = 1800.0  # of one job that writes; then it is aborted
AWAKE_S: Final = 5.0  # the longest between the sending mark and the bytes
BACKWARDS_S: Final = 5.0  # a clock that went back further proves nothing
DONE: Final = frozenset({"confirmed", "adopted"})

# Keys that the vendor itself keeps unique: of two records with one key it refuses the second. In
# Salesforce a new record is an upsert on its external id. A Reference is a mere text.
UNIQUE_KEYS: Final = frozenset({"ContactNumber", "InvoiceNumber", "Code"})
BILL: Final = "Bill"  # of Xero: its number is its supplier's, and two may have one

Step = Literal["repeat", "wait", "absent"]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Job:
    """The job that carries a request: it may write from when it is closed until it is over, however long that is.

    made_at: by the vendor's clock; what it writes is stamped later. over_at: since when, by our clock, it is known to
    be over (complete, failed, aborted, gone); null: it may be waiting or at work.
    """

    job_id: str
    made_at: datetime
    over_at: datetime | None = None


@dataclass(frozen=True)
class Timing:
    """The clock, and how long a vendor may take to apply what we gave up on (an assumption: none says).

    job_patience_s: how long a job of ours may be at work before it is aborted.
    """

    late_application_s: float
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    job_patience_s: float = JOB_PATIENCE_S

    @property
    def horizon_s(self) -> float:
        """How long after its first sending a key may be used again, so that it lives to the last of it."""
        return KEY_LIVES_S - self.late_application_s - SKEW_S

    @property
    def awake_s(self) -> float:
        """How long after its mark a sending may leave; a longer sleep marks anew. A part of what is waited for it."""
        return min(AWAKE_S, max(1.0, self.late_application_s / 18))

    @property
    def settled_after_s(self) -> float:
        """How long after the mark of a sending a look decides.

        Its bytes may have left that much later than their mark; and the machine that marked them may have
        been behind the one that asks.
        """
        skew_s = min(SKEW_S, self.late_application_s / 3)
        return self.late_application_s + self.awake_s + skew_s

    def still_due_s(self, sent: Sent, asked_at: datetime) -> float:
        """How long the vendor may still take to apply what was sent, as of a look that began then."""
        if sent.last_sent_at is None:
            return 0.0
        longest, last = self.settled_after_s, last_moment(sent.last_sent_at, sent.job)
        # A clock that went backwards proves nothing: then all of the time is due. So it is while a job may run.
        return (
            longest if last is None else min(max((last - asked_at).total_seconds() + longest, 0.0), longest)
        )


class LookTooOld(Exception):
    """What is to leave rests on a look of too long ago: it waited for a limit, or the process slept."""


class HorizonPassed(Exception):
    """The key of a request may have run out: sending it again could make the record twice."""


@dataclass(frozen=True)
class Proof:
    """Why the operations of an intent may go on although it ends without an outcome.

    not_sent: of its only sending not a byte was heeded (no connection, a limit, a login). refused: the reply
    says that it was not carried out. absent: it was looked for, and is not there.
    """

    kind: Literal["not_sent", "refused", "absent"]
    looked_at: datetime | None = None  # when that look began
    waited_s: float = 0.0  # what had to pass between the last sending and that look


# -- what comes next


def inside_horizon(first: datetime, now: datetime, horizon_s: float) -> bool:
    """Say whether a key that first left then certainly still lives.

    A clock that went backwards proves nothing: then it doesn't.
    """
    return -BACKWARDS_S <= (now - first).total_seconds() < horizon_s


def last_moment(last_sent_at: datetime, job: Job | None) -> datetime | None:
    """P12: give the moment from which the vendor's time counts; null: it has not come yet.

    Of a request it is its last sending. A job waits in a queue and works for as long as it takes: of that it is the
    moment at which it was seen to be over. One that was aborted may be ending the piece that it had begun.
    """
    if job is None:
        return last_sent_at
    return None if job.over_at is None else max(last_sent_at, job.over_at)


def may_repeat(sent: Sent, now: datetime, horizon_s: float) -> bool:
    """Say whether the same bytes may go again under the same key."""
    if not sent.idempotency_key or sent.burnt or sent.first_sent_at is None:
        return False
    return inside_horizon(sent.first_sent_at, now, horizon_s)


def after_look(
    sent: Sent, *, whole: bool, repeats: int, look_only: bool, looked_at: datetime, timing: Timing
) -> Step:
    """Say what follows a look that did not find what was sent.

    whole: every record of the request is as it was before, so that its bytes may go again as they are.
    repeat: send them; wait: the vendor may still apply them, and nothing is proven; absent: they were never
    applied, and never will be.
    """
    tired = repeats >= REPEATS or look_only
    if whole and not tired and may_repeat(sent, timing.now(), timing.horizon_s):
        return "repeat"
    return "wait" if timing.still_due_s(sent, looked_at) > 0 else "absent"


def has_unique_key(intent: Intent) -> bool:
    """Say whether the vendor would refuse a second record with this intent's key."""
    known = intent.key_field in UNIQUE_KEYS and intent.object != BILL
    return intent.action != "create" or intent.system == "salesforce" or known


def rests_on_look(intent: Intent) -> bool:
    """P11: say whether a look that is old may let harm be done.

    It writes over what people edit; or it makes a record, and nothing but the look keeps the vendor from having two,
    or from taking what was made for a change of what a person made. Of all else the first look of a push is enough:
    nobody but us gives a record of Xero the id of Salesforce's as its key.
    """
    source, key = str(intent.operations[0].source_id).casefold(), str(intent.natural_key).casefold()
    ours_alone = intent.system == "xero" and has_unique_key(intent) and source in key
    return intent.is_edited or (intent.action == "create" and not ours_alone)


def wait_for_lost_journal_s(made_at: datetime | None, now: datetime, settled_after_s: float) -> float:
    """How long to wait before making a record whose key is not unique, with a journal made at that time.

    It may stand in the place of one that was lost, and what that one knew to be on its way may still arrive.
    """
    if made_at is None:
        return 0.0
    age_s = (now - made_at).total_seconds()
    return settled_after_s if age_s < 0 else max(settled_after_s - age_s, 0.0)


# -- invariants: they stay on in production


def must(holds: bool, number: str, what: str) -> None:
    """Raise InvariantBroken where something does not hold that the protocol rests on."""
    if not holds:
        raise InvariantBroken(number=number, found=what)


def check_planned(request: Request, planned: Collection[str]) -> None:
    """P9: every write is in the plan."""
    asked = [one.operation_id for intent in request.intents for one in intent.operations]
    must(bool(asked), "P9", "a request without an operation of the plan")
    must(all(one in planned for one in asked), "P9", "a request with an operation that the plan has not")


def check_open(state: str) -> None:
    """P1: a request of which all is known leaves no more, and is unknown no more."""
    must(state in ("sending", "unknown"), "P1", f"a request that has ended ({state})")


def check_leaving(
    body: bytes, kept_sha256: str, first_sent_at: datetime | None, now: datetime, horizon_s: float
) -> None:
    """P1, P2, P3: only the bytes that are kept leave, and only while their key certainly lives.

    Raises HorizonPassed for the latter: the push goes another way then.
    """
    must(hashlib.sha256(body).hexdigest() == kept_sha256, "P2", "bytes that are not those in the journal")
    if first_sent_at is not None and not inside_horizon(first_sent_at, now, horizon_s):
        raise HorizonPassed


def check_over(job: Job | None, *, sends: int, proof: Proof | None) -> None:
    """P12: no intent of a job ends, in whatever way, while that job may still write.

    sends: how often it may have been closed; until then it is open, and writes nothing.
    """
    never_closed = sends == 0 or (proof is not None and proof.kind == "not_sent")
    must(
        job is None or never_closed or job.over_at is not None,
        "P12",
        "an intent that ends before its job is over",
    )


def check_freed(
    proof: Proof | None,
    *,
    sends: int,
    last_sent_at: datetime | None,
    was_unknown: bool,
    job: Job | None = None,
) -> None:
    """P5: an intent ends without outcome, so that its operations go on, only where it was not carried out."""
    if proof is None:
        raise InvariantBroken(number="P5", found="an intent that ends without an outcome and without a proof")
    if proof.kind == "refused":
        must(sends > 0, "P5", "a refusal of what was never sent")
    elif proof.kind == "not_sent":
        must(not was_unknown, "P5", "a sending that failed, as proof of an earlier one")
    elif sends:
        last = None if last_sent_at is None else last_moment(last_sent_at, job)
        early = last is None or proof.looked_at is None or proof.looked_at < last + _seconds(proof.waited_s)
        must(not early, "P5", "a look that began before the vendor's time was over")


def check_done(ended: Iterable[Ended]) -> None:
    """P6: what is done has a record."""
    for one in ended:
        must(
            one.outcome not in DONE or bool(one.record_id),
            "P6",
            f"an operation {one.outcome} without a record",
        )


def is_awake(marked_at: datetime, now: datetime, awake_s: float) -> bool:
    """P8: say whether the bytes leave at the time that the journal has for them."""
    return -BACKWARDS_S <= (now - marked_at).total_seconds() <= awake_s


def is_young(looked_by: datetime, now: datetime) -> bool:
    """P11: say whether a look is still ground to write on. A clock that was set back makes it old."""
    return -BACKWARDS_S <= (now - looked_by).total_seconds() <= OLD_S


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)
