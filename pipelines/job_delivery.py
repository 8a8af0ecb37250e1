"""Gets a request across that goes as a job of Salesforce's: many rows, which are written after our call was answered.

Nothing is written before the job is closed. So intents and rows are kept first, then the job is made and given its
rows, then its id is kept, and its closing is what the journal calls the sending of the request. From then on it may
write until it is over, also without us: its intents stay open until then, and nothing else is sent for their records.
A job that is over tells of each row; what it does not tell of is looked at, as after any lost answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from typing_extensions import override

from pipelines import journal_crash as crash
from pipelines import protocol
from pipelines.delivery import Delivery
from pipelines.intents import Intent, Operation, Request, Verdict
from pipelines.journal_intents import Sent
from pipelines.protocol import REPEATS, LookTooOld, Proof
from pipelines.salesforce import ingest
from pipelines.salesforce import writer as salesforce_writer
from pipelines.salesforce.ingest import NoJob, Told
from reconcile.errors import (
    InvariantBroken,
    LeaseLost,
    LogInAgain,
    OutcomeUnknown,
    RetryLater,
    UnexpectedReply,
)
from reconcile.price import JOB_ROWS_A_S

LONGEST_PAUSE_S: Final = 30.0  # a lease lasts longer
GROWTH: Final = 1.5  # of a pause, from one question to the next
ABORTS: Final = 3  # of one job, until it is left to the next run


class JobDelivery(Delivery):
    """A delivery that knows jobs too."""

    @override
    def deliver(self, request: Request, *, looked_by: datetime) -> list[Operation]:
        if not ingest.is_job(request):
            return super().deliver(request, looked_by=looked_by)
        protocol.check_planned(request, self._outcomes.planned)
        request = replace(request, intents=tuple(self._looks.timed(one) for one in request.intents))
        sent = self._intents.begin(
            request, plan_hash=self._outcomes.plan_hash, run_id=self._run_id, fence=self._lease
        )
        self._looked_by = looked_by
        try:
            sent = self._made(sent)
            answer = self._closed(sent)
        except (NoJob, LookTooOld) as why:
            return self._in_small_calls(self._intents.kept(sent), why)
        except OutcomeUnknown:
            answer = None
            self._intents.unknown(sent, burnt=False, fence=self._lease)
        except (RetryLater, LogInAgain) as error:
            return self._not_carried_out(sent, request.intents, error)
        return self._followed(self._intents.kept(sent), request.intents, answer=answer)

    # -- until it is closed

    def _made(self, sent: Sent) -> Sent:
        """Make the job and give it its rows; its id is kept as soon as it is known."""
        client, rows = self._clients.salesforce, len(sent.request.intents)
        self.say(f"giving Salesforce {rows:,} rows")
        with self._clients.writing(self._lease.check, self._in_time):
            crash.point()
            job = ingest.make(client, sent.request)
            crash.point()
        self._intents.job_made(sent, job, fence=self._lease)
        sent = replace(sent, job=job)
        with self._clients.writing(self._lease.check, self._in_time):
            ingest.upload(client, job.job_id, sent.request.body)
            crash.point()
        return sent

    def _closed(self, sent: Sent) -> int:
        """Close the job; gives the status of the answer. Raises OutcomeUnknown, LookTooOld, and as a write does."""
        with self._clients.writing(lambda: self._mark(sent), lambda: self._last_moment(sent.request.system)):
            crash.point()
            reply = ingest.close(self._clients.salesforce, _job_id(sent))
            crash.point()
        return reply.status

    def _in_time(self) -> None:
        # These calls write no record, whenever they leave; but only the pair's holder makes jobs.
        if not self._lease.in_time():
            raise LeaseLost(pair=self._lease.pair)

    def _in_small_calls(self, sent: Sent, why: Exception) -> list[Operation]:
        """Nothing was written: the rows go once more, and as those of a second attempt by collections."""
        self.say(
            f"no job came about ({str(why) or 'the look before it grew old'}); its rows go in small calls"
        )
        self._abort(sent)
        self._outcomes.close(sent, [(one, ()) for one in sent.request.intents], proof=Proof("not_sent"))
        return self.tries.again(sent.request.intents)

    # -- once it may be closed

    def _followed(
        self, sent: Sent, live: Sequence[Intent], *, answer: int | None = None, look_only: bool = False
    ) -> list[Operation]:
        """Wait until the job is over, end it where that takes too long, and heed what it tells of each row.

        answer: the status with which its closing was answered, where that was just now.
        """
        try:
            told = self._over(sent, just_begun=answer == 200, look_only=look_only)
            if told is None:
                self._outcomes.stay_unknown(live)
                return []
            if _job(sent).over_at is None:
                self._intents.job_over(sent, told.state, fence=self._lease)
            sent = self._intents.kept(sent)
            crash.point()
            found = ingest.results(self._clients.salesforce, _job(sent), told)
        except (RetryLater, LogInAgain) as error:
            self.tries.stop(sent.request.system, error)
            self._outcomes.stay_unknown(live)
            return []
        except UnexpectedReply:
            self._outcomes.stay_unknown(live)  # the next run asks again
            return []
        refused = answer is not None and 400 <= answer < 500 and told.done == 0
        untouched = refused or told.state == ingest.FAILED
        verdicts: Sequence[Verdict] = salesforce_writer.read_job(sent.request, found, untouched=untouched)
        by_intent = {
            one.intent_id: verdict for one, verdict in zip(sent.request.intents, verdicts, strict=True)
        }
        heard = [(one, by_intent[one.intent_id]) for one in live]
        return self._heed(sent, self._proven(heard, since=_job(sent).made_at), 200, REPEATS)

    def _over(self, sent: Sent, *, just_begun: bool, look_only: bool) -> Told | None:
        """Ask until the job is over, and give what it tells then; null where it is not, and can't be ended.

        Where it was not closed after all, or is at work for too long, it is aborted.
        """
        rows, timing = len(sent.request.intents), self._timing
        pause_s, waited_s, aborts = first_pause_s(rows), 0.0, 0
        if just_begun:
            timing.sleep(pause_s)
            waited_s += pause_s
        while True:
            told = ingest.ask(self._clients.salesforce, _job_id(sent))
            if told.state in ingest.OVER or told.state == ingest.GONE:
                return told
            if look_only or aborts == ABORTS:
                return None
            self._lease.check()
            if told.state == ingest.OPEN or waited_s >= timing.job_patience_s:
                timing.sleep(float(aborts))
                self._abort(sent)
                aborts += 1
                continue
            self.say(f"Salesforce is at work: {told.done:,} of {rows:,} rows")
            pause_s = min(GROWTH * pause_s, LONGEST_PAUSE_S)
            timing.sleep(pause_s)
            waited_s += pause_s

    def _abort(self, sent: Sent) -> None:
        """End a job, as far as it goes: asking it tells what came of that."""
        if sent.job is None:
            return
        try:
            with self._clients.writing(self._lease.check, self._in_time):
                crash.point()
                ingest.abort(self._clients.salesforce, sent.job.job_id)
                crash.point()
        except (OutcomeUnknown, RetryLater, LogInAgain):
            return

    # -- settling

    @override
    def _never_left(self, sent: Sent, *, look_only: bool) -> list[Operation]:
        if not look_only:
            self._abort(sent)
        return super()._never_left(sent, look_only=look_only)

    @override
    def _settle_earlier(self, sent: Sent, *, look_only: bool) -> list[Operation]:
        if not ingest.is_job(sent.request):
            return super()._settle_earlier(sent, look_only=look_only)
        return self._followed(sent, sent.live, look_only=look_only)


def first_pause_s(rows: int) -> float:
    """Give how long a job of so many rows is left alone before it is asked."""
    return max(1.0, rows / JOB_ROWS_A_S)


def _job(sent: Sent) -> protocol.Job:
    if sent.job is None:
        raise InvariantBroken(number="P12", found="a job that was closed before its id was kept")
    return sent.job


def _job_id(sent: Sent) -> str:
    return _job(sent).job_id
