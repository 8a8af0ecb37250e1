"""Errors, sorted by what happens next.

    ReconcileError
    ├─ RetryLater      not sent, or refused whole: the same call may be made again
    ├─ SettleFirst     a write went out and its answer was lost: only the protocol may settle it
    ├─ LogInAgain      the credentials no longer open the door
    ├─ FixData         a record, a reply or a snapshot is not what it must be
    ├─ FixMapping      the mapping file is wrong
    ├─ FixSettings     the settings, a path, a disk or a right is wrong
    ├─ NeedsApproval   a person has to say yes first
    └─ Incident        what must hold does not: stop, and let somebody look

All else is a bug. A message holds place, found, expected and next step; never a secret, a person's
data or the body of a reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class ReconcileError(Exception):
    """What a user is told; the command line prints its message and no traceback."""


class RetryLater(ReconcileError):
    """Nothing was written. The same call may be made again later."""


class SettleFirst(ReconcileError):
    """A write was sent and its answer is not known."""


class LogInAgain(ReconcileError):
    """A credential is refused, expired, revoked, or lacks a right."""


class FixData(ReconcileError):
    """Data from a system can't be used as it is."""


class FixMapping(ReconcileError):
    """The mapping does not fit its schema, or the systems."""


class FixSettings(ReconcileError):
    """A setting, a path or the machine is not as it must be."""


class NeedsApproval(ReconcileError):
    """A person has to approve before this may go on."""


class Incident(ReconcileError):
    """Something that must always hold does not."""


class JournalBusy(RetryLater):
    """Another process writes to the journal for longer than we wait."""

    def __init__(self, *, at: str, holders: Sequence[str] = ()) -> None:
        at_work = f" At work: {', '.join(holders)}; if it is halted, wake or end it." if holders else ""
        super().__init__(
            f"{at}: another process holds the journal. Nothing was written; run it again.{at_work}"
        )


class LeaseLost(Incident):
    """Another run took the pair over while this one was at work: it may write no more."""

    def __init__(self, *, pair: str) -> None:
        super().__init__(
            f"the lease on the pair {pair!r} was lost: another run took it over. This run stopped before its "
            "next write; run it again when the other is done."
        )


class Overslept(RetryLater):
    """This process was stopped between saying that bytes leave and their leaving: they did not leave."""

    def __init__(self, *, side: str) -> None:
        super().__init__(
            f"{side}: this process slept just before a write left. It did not leave; run it again."
        )


class UnknownField(FixMapping):
    """A mapping names a field that the vendor's schema does not have."""

    def __init__(self, *, at: str, entity: str, found: str, nearest: str) -> None:
        self.at, self.entity, self.found, self.nearest = at, entity, found, nearest
        hint = f"; the nearest is {nearest!r}" if nearest else ""
        super().__init__(
            f"{at}: {entity} has no field {found!r}{hint}. "
            "Correct the mapping, or give the login the right to the field, and run the command again."
        )


class UnknownObject(FixMapping):
    """A mapping names an object that the system does not have, or does not show to this login."""

    def __init__(self, *, at: str, side: str, found: str, nearest: str) -> None:
        self.at, self.side, self.found, self.nearest = at, side, found, nearest
        hint = f"; the nearest is {nearest!r}" if nearest else ""
        super().__init__(
            f"{at}: {side} has no object {found!r}{hint}. Correct the mapping, or give the login the right "
            "to read it, and run the command again."
        )


class WrongMapping(FixMapping):
    """A key or a value of the mapping is not one that it may have."""

    def __init__(self, *, at: str, found: str, expected: str) -> None:
        self.at, self.found, self.expected = at, found, expected
        super().__init__(
            f"{at}: found {found}, expected {expected}. Correct the mapping and run the command again."
        )


class WrongSetting(FixSettings):
    """A key or a value of the settings is not one that it may have."""

    def __init__(self, *, at: str, found: str, expected: str) -> None:
        self.at, self.found, self.expected = at, found, expected
        super().__init__(
            f"{at}: found {found}, expected {expected}. Correct the setting and run the command again."
        )


class RateLimited(RetryLater):
    """A limit of the vendor was met. Xero counts before it looks at a key: nothing was written."""

    def __init__(self, *, side: str, limit: str, retry_after_s: float | None) -> None:
        self.side, self.limit, self.retry_after_s = side, limit, retry_after_s
        wait = f"; try again in {retry_after_s:.0f} s" if retry_after_s is not None else ""
        super().__init__(
            f"{side}: the limit of calls ({limit}) is reached{wait}. What was done so far is kept."
        )


class Unreachable(RetryLater):
    """The system could not be reached, or answered that it is down; nothing was written."""

    def __init__(self, *, side: str, at: str, found: str) -> None:
        self.side, self.at = side, at
        super().__init__(
            f"{side}: {at} can't be reached ({found}). Check the address in the settings "
            "and the network, then run it again."
        )


class NotConnected(Unreachable):
    """No connection came about: not a byte of the request left."""


class CircuitOpen(RetryLater):
    """The system failed so often that calls to it are stopped for a while; nothing was sent."""

    def __init__(self, *, side: str, why: str, next_try_at: datetime) -> None:
        self.side, self.next_try_at = side, next_try_at
        super().__init__(
            f"{side}: calls are stopped, because {why}. At {next_try_at:%H:%M:%S} UTC one is let through, and "
            "if it is answered the others follow. Nothing is lost: what was to be sent waits. "
            "Run it again then."
        )


class LoginBusy(RetryLater):
    """Another process logs in with the same credentials, and does not come to an end."""

    def __init__(self, *, side: str, waited_s: float) -> None:
        self.side = side
        super().__init__(
            f"{side}: another process has been logging in for {waited_s:.0f} s. Nothing was sent. Look for one "
            "that is stopped, end it, and run this again."
        )


class LeaseHeld(RetryLater):
    """Another process works on this pair."""

    def __init__(self, *, holder: str, until: str) -> None:
        super().__init__(
            f"another run works on this pair: {holder}, until {until} unless it goes on. "
            "Wait for it, then run it again."
        )


class OutcomeUnknown(SettleFirst):
    """A write went out and its answer was lost."""

    def __init__(self, *, side: str, found: str) -> None:
        self.side = side
        super().__init__(
            f"{side}: a write was sent and its answer was lost ({found}). The next run settles it first."
        )


class LoginRefused(LogInAgain):
    """The identity server refused the credentials, or the API a fresh token."""

    def __init__(self, *, side: str, at: str, found: str, next_step: str) -> None:
        self.side = side
        super().__init__(f"{side}: {at} refused the login: {found}. {next_step}")


class MissingRight(LogInAgain):
    """The login works, and lacks a scope or a right."""

    def __init__(self, *, side: str, found: str, next_step: str) -> None:
        self.side = side
        super().__init__(f"{side}: {found}. {next_step}")


class UnexpectedReply(FixData):
    """A reply is not of the shape that the vendor documents (HTML, truncated JSON, a missing element)."""

    def __init__(self, *, side: str, at: str, found: str, expected: str) -> None:
        self.side, self.at = side, at
        super().__init__(
            f"{side}: {at}: found {found}, expected {expected}. Nothing of it was used; run it again, "
            "and look at the address in the settings if it stays so."
        )


class SnapshotRefused(FixData):
    """A pull is not complete, or much smaller than the one before; the previous snapshot stays in force."""

    def __init__(self, *, side: str, object_name: str, found: str, expected: str) -> None:
        self.side, self.object_name = side, object_name
        super().__init__(
            f"{side} {object_name}: the new snapshot is refused: found {found}, expected {expected}. "
            "The previous snapshot stays in force. If the change is real, "
            "run `reconcile pull --full --accept-smaller`."
        )


class TypeChanged(FixData):
    """A field has another type than before; its object keeps the previous snapshot."""

    def __init__(self, *, side: str, object_name: str, field: str, found: str, expected: str) -> None:
        self.side, self.object_name, self.field = side, object_name, field
        super().__init__(
            f"{side} {object_name}.{field}: found type {found}, expected {expected}. {object_name} keeps its "
            "previous snapshot. Look at what the mapping does with the field; if the change is meant, "
            "run `reconcile pull --full --accept-smaller`."
        )


class CheckStopped(FixData):
    """A critical expectation failed or could not run; nothing is sent."""


class PlanUnusable(NeedsApproval):
    """A plan is unknown, expired, already used, changed, or made for another pair."""


class UnknownPlan(FixSettings):
    """No plan, or more than one, has the hash that was given."""


class UnknownRun(FixSettings):
    """No run that wrote, or more than one, has the id that was given."""


class UnknownCustomer(FixSettings):
    """No customer has the name or id that was given."""


class BeyondLimits(NeedsApproval):
    """A plan changes more than the limits allow without approval of its hash."""


class ReadOnly(NeedsApproval):
    """Writes are not enabled for this pair."""

    def __init__(self, *, pair: str) -> None:
        super().__init__(
            f"the pair {pair!r} is read-only. `reconcile enable-writes --pair {pair} --environment NAME` "
            "names what may be written to."
        )


class InvariantBroken(Incident):
    """The protocol of the push met a state that it must never meet. number: of docs/protocol.md."""

    def __init__(self, *, number: str, found: str) -> None:
        self.number = number
        super().__init__(
            f"invariant {number} of the push does not hold: found {found}. Nothing was sent. Keep the journal "
            "as it is, run `reconcile status`, and report this."
        )


class WrongPair(Incident):
    """The organisation, tenant or base currency is not the one that was pinned."""


class JournalDamaged(Incident):
    """The journal can't be read, or its chain does not verify."""


class JournalMismatch(JournalDamaged):
    """The journal is not the one that was left: rows were lost, changed, or put back from a backup."""

    def __init__(self, *, at: str, found: str) -> None:
        self.at, self.found = at, found
        super().__init__(
            f"{at}: the journal is not as it was left: {found}. Nothing is sent. `reconcile audit verify` shows "
            "it; put the right journal back, or say with `reconcile audit accept` that this one is to go on."
        )
