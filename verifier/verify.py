"""Shows, from files alone, that every write of these runs was planned, approved, and made once.

    python verifier/verify.py CERTIFICATE... [--plans DIR] [--history FILE] [--records FILE]

It imports nothing of the reconciler, and believes nothing that it can work out: hashes, chains, bodies and counts
are computed again. --history: what the systems logged, {"xero": [...], "salesforce": [...]}, as the sandbox's
/sandbox/requests gives it. --records: what they hold now, {"xero": [bodies], "salesforce": [bodies]}.
Exit code 0: all of it holds; 1: something does not; 2: a file can't be read, or is needed too.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import polars as pl

DONE = ("confirmed", "adopted")
SLOTS = {"Phones": "PhoneType", "Addresses": "AddressType"}
OWN_IDS = {it: f"{it}ID" for it in ("Payment", "CreditNote", "Invoice", "Item", "Contact", "TrackingOption")}
HORIZON = timedelta(seconds=240)  # a key of Xero's is never used longer than this after its first use
STATES = ("IsDeleted", "Status", "ContactStatus")
CLOSED = {True, "ARCHIVED", "GDPRREQUEST", "VOIDED", "DELETED"}
LOGINS = ("/connect/", "/oauth2/", "/sandbox/")
GROUPED = re.compile(r".*/ContactGroups/([\w-]+)/Contacts/?([\w-]*)")
JOB = re.compile(
    r".*jobs/ingest/?(\w*)(?:/batches)?(?:\?.*)?"
)  # of Salesforce: rows of CSV, written once it is closed
CLOSES = hashlib.sha256(b'{"state":"UploadComplete"}').hexdigest()
GUARDED = re.compile(r"PATCH /services/data/v[\d.]+/sobjects/(\w+)/(\w+)")  # a subrequest of a composite
Json = Any


@dataclass
class Plan:
    """What was to be written, and what was seen of the records before."""

    hash: str
    manifest: Json
    operations: dict[str, Json]
    seen: dict[tuple[str, str, str], Json]


@dataclass
class Case:
    """All that is to be verified together, and what was found wrong with it."""

    certificates: list[Json]
    plans: dict[str, Plan] = field(default_factory=dict)
    history: dict[str, list[Json]] | None = None
    records: dict[str, list[Json]] | None = None
    problems: list[str] = field(default_factory=list)

    def need(self, holds: object, where: str, otherwise: str) -> None:
        if not holds:
            self.problems.append(f"{where}: {otherwise}")

    def requests(self, plan_hash: str = "") -> list[Json]:
        """Give the requests of all certificates, or of those of one plan."""
        some = (one for one in self.certificates if not plan_hash or one["plan"]["hash"] == plan_hash)
        return [request for one in some for request in one["requests"]]

    def sent(self, plan_hash: str = "") -> Iterator[tuple[Json, Json]]:
        return ((request, intent) for request in self.requests(plan_hash) for intent in request["intents"])

    def needed(self, *some: Json) -> set[str]:
        """Give the runs that sent of these certificates' plans too, and whose own are not here."""
        named = {run_id for one in some for run_id in one["plan"].get("runs", ())}
        return named - {one["run"]["run_id"] for one in self.certificates}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("certificates", nargs="+", type=Path)
    for name in ("--plans", "--history", "--records"):
        parser.add_argument(name, type=Path)
    try:
        case = read(parser.parse_args(arguments))
    except (OSError, ValueError, KeyError) as error:
        print(f"can't be read: {type(error).__name__} {error}", file=sys.stderr)
        return 2
    for one in case.certificates:
        where = f"run {one['run']['run_id'][:10]}"
        verify_seal(case, where, one)
        chain = verify_chain(case, where, one)
        verify_approval(case, where, one, chain)
        verify_requests(case, where, one, chain)
        verify_outcomes(case, where, one)
    for verify in (verify_once, verify_snapshots, verify_history, verify_records):
        verify(case)
    told = [f"not compared: --{name}" for name in ("history", "records") if getattr(case, name) is None]
    needed = [f"also needs run {run_id}" for run_id in sorted(case.needed(*case.certificates))]
    counts = f"{len(case.certificates)} certificates, {len(case.requests())} requests"
    print(*case.problems, "; ".join([f"{counts}: {len(case.problems)} problems", *told, *needed]), sep="\n")
    return 1 if case.problems else 2 if needed else 0


def parse(text: str | bytes) -> Json:
    return json.loads(text, parse_float=Decimal)


def canonical(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def bare(record_id: str | None) -> str:
    """Give the vendor's own id; a primary person has the contact's."""
    return str(record_id or "").removesuffix(":primary").lower()


def read(given: argparse.Namespace) -> Case:
    files = [file for path in given.certificates for file in sorted(path.glob("*.json")) or [path]]
    case = Case([parse(file.read_bytes()) for file in files])
    folder = given.plans or files[0].parent.parent / "plans"
    for plan_hash in {one["plan"]["hash"] for one in case.certificates}:
        case.plans[plan_hash] = read_plan(case, folder, plan_hash)
    case.history = parse(given.history.read_bytes()) if given.history else None
    case.records = parse(given.records.read_bytes()) if given.records else None
    return case


def read_plan(case: Case, folder: Path, plan_hash: str) -> Plan:
    data, where = (folder / f"{plan_hash}.json").read_bytes(), f"plan {plan_hash[:10]}"
    manifest, tables = parse(data), dict[str, pl.DataFrame]()
    for one in case.certificates:
        ours = one["plan"]["hash"] != plan_hash or one["plan"]["manifest_sha256"] == sha256(data)
        case.need(ours, where, "its manifest is not the one that the run had")
    for name, file in (("operations", f"{plan_hash}.parquet"), ("seen", f"{plan_hash}.seen.parquet")):
        content = (folder / file).read_bytes()
        case.need(manifest["sha256"].get(name) == sha256(content), where, f"its {name} are not as sealed")
        tables[name] = pl.read_parquet(content)
    hashed = json.dumps(manifest["header"], sort_keys=True, default=str).encode() + b"\n"
    hashed += tables["operations"].sort("operation_id").write_ndjson().encode()
    case.need(sha256(hashed) == plan_hash, where, "its operations are not those of its hash")
    operations = {row["operation_id"]: row for row in tables["operations"].to_dicts()}
    rows = tables["seen"].to_dicts()
    seen = {(row["side"], row["object"], bare(row["record_id"])): parse(row["body"]) for row in rows}
    return Plan(plan_hash, manifest, operations, seen)


def verify_seal(case: Case, where: str, one: Json) -> None:
    content = {name: value for name, value in one.items() if name != "sha256"}
    sealed = one.get("certificate") == 1 and sha256(canonical(content).encode()) == one.get("sha256")
    case.need(sealed, where, "the certificate was changed after it was written")
    case.need(one["plan"]["hash"] == one["run"]["details"].get("plan"), where, "the run names another plan")


def verify_chain(case: Case, where: str, one: Json) -> list[Json]:
    """Compute the audit chain again; gives its rows with their details parsed."""
    before, rows = one["chain"]["before"], one["chain"]["rows"]
    for row in rows:
        plain = {name: value for name, value in row.items() if name != "hash" and value is not None}
        fits = sha256((before + canonical(plain)).encode()) == row["hash"]
        case.need(fits, where, f"the audit chain breaks at {row['sequence']}")
        before = row["hash"]
    return [{**row, "details": parse(row["details"])} for row in rows]


def verify_approval(case: Case, where: str, one: Json, chain: Sequence[Json]) -> None:
    plan = case.plans[one["plan"]["hash"]]
    rows = [row for row in chain if plan.hash in (row["details"].get(name) for name in ("plan", "plan_hash"))]
    # By their places in the chain: a clock may have been set back.
    order = [row["kind"] for row in rows if row["kind"] in ("approved", "intended")]
    must = one["run"]["details"].get("approved") == "by hash or hand" or plan.manifest["beyond_limits"]
    case.need(not must or order[:1] == ["approved"], where, "nobody had approved this hash when it wrote")
    made, until = moment(plan.manifest["created_at"]), moment(plan.manifest["expires_at"])
    first = sorted(row["first_sent_at"] for row in one["requests"] if row["first_sent_at"])[:1]
    for at in map(moment, [*first, *(row["at"] for row in rows if row["kind"] == "approved")]):
        in_time = made and at and until and made <= at < until
        case.need(in_time, where, "approved or sent before it was planned, or after the plan had expired")
    header, pair = plan.manifest["header"], one["pair"]
    for name, ours in {**pair, "pair": pair["name"]}.items():
        case.need(header.get(name) in (None, ours), where, f"the plan was made for another {name}")


def verify_requests(case: Case, where: str, one: Json, chain: Sequence[Json]) -> None:
    plan = case.plans[one["plan"]["hash"]]
    intended = {row["details"]["request_id"]: row for row in chain if row["kind"] == "intended"}
    here = {request["request_id"] for request in case.requests()}
    for request_id in intended.keys() - here if not case.needed(one) else ():
        ours = intended[request_id]["details"]["plan_hash"] == plan.hash
        case.need(not ours, where, f"request {request_id[:10]} was intended, and is left out")
    ids = {row["operation_id"]: row["record_id"] for row in one["outcomes"] if row["outcome"] in DONE}
    for request in one["requests"]:
        place = f"{where}, request {request['request_id'][:10]}"
        case.need(sha256(request["body"].encode()) == request["sha256"], place, "its bytes have another hash")
        verify_intended(case, place, request, intended.get(request["request_id"]))
        elements = elements_of(request)
        case.need(len(elements) == len(request["intents"]), place, "it carries more or less than its intents")
        for position, (intent, element) in enumerate(zip(request["intents"], elements, strict=False)):
            case.need(intent["position"] == position, place, "its intents are not in the order of its body")
            verify_intent(case, place, plan, request, intent, element, ids)


def verify_intended(case: Case, place: str, request: Json, row: Json | None) -> None:
    if row is None:
        case.need(False, place, "it left without an intent in the audit chain")
        return
    told = {name: row["details"][name] for name in ("sha256", "intents", "fencing", "system")}
    ours = {**{name: request[name] for name in told}, "intents": len(request["intents"])}
    case.need(told == ours, place, "the audit chain has other bytes, another lease or other intents for it")
    first, last = moment(request["first_sent_at"]), moment(request["last_sent_at"])
    case.need((first is None) == (request["sends"] == 0), place, "its sendings do not fit its times")
    if first and last:
        case.need((moment(row["at"]) or first) <= first <= last, place, "it left before its intent was kept")
        lives = not request["idempotency_key"] or last - first < HORIZON
        case.need(lives, place, "its key was used longer than it certainly lives")


def elements_of(request: Json) -> list[Json]:
    """Give the records that a body writes; a contact that enters or leaves a group as "group/contact"."""
    if JOB.fullmatch(request["path"]):
        kind = parse_qs(request["path"].partition("?")[2])["object"][0]
        rows = csv.DictReader(io.StringIO(request["body"], newline=""))
        told = ({name: None if it == "#N/A" else it for name, it in row.items() if it} for row in rows)
        return [{"attributes": {"type": kind}, "id": row.pop("Id", None), **row} for row in told]
    body, group = parse(request["body"] or "{}"), GROUPED.fullmatch(request["path"])
    if group:
        who = [group[2]] if group[2] else [one["ContactID"] for one in body["Contacts"]]
        return [{"id": f"{group[1]}/{it}", "Member": request["method"] == "PUT"} for it in who]
    if request["system"] == "xero":
        return next((value for value in body.values() if isinstance(value, list)), [body])
    asked = body.get("compositeRequest", ())
    found = ((GUARDED.fullmatch(f"{one['method']} {one['url']}"), one.get("body", {})) for one in asked)
    guarded = [{"attributes": {"type": it[1]}, "id": it[2], **own} for it, own in found if it]
    return guarded if asked else body.get("records", [body])


def verify_intent(
    case: Case, place: str, plan: Plan, request: Json, intent: Json, element: Json, ids: Mapping[str, str]
) -> None:
    planned = [plan.operations[one] for one in intent["operations"] if one in plan.operations]
    if not planned or len(planned) != len(intent["operations"]):
        case.need(False, place, "it carries what the plan does not have")
        return
    ours = (request["system"], intent["object"], intent["action"] == "create", bare(intent["record_id"]))
    for one in planned:
        record_id = "" if one["action"] == "create" else bare(one["record_id"])
        same = (one["system"], one["object"], one["action"] == "create", record_id) == ours
        case.need(same, place, f"operation {one['operation_id'][:10]} is another kind, or of another record")
    wanted = merged(filled(parse(one["native_after"] or "{}"), ids) for one in planned)
    if intent["action"] == "create" and intent["key_field"] and not wanted.get(intent["key_field"]):
        wanted[intent["key_field"]] = planned[0]["source_id"]
    if JOB.fullmatch(request["path"]):
        wanted = {name: as_cell(value) for name, value in wanted.items()}
    sent = {name: value for name, value in element.items() if name not in ("attributes", "id")}
    kind = element.get("attributes", {}).get("type", intent["object"])
    case.need(kind == intent["object"], place, "its body names another object")
    if intent["record_id"]:
        own = OWN_IDS.get(intent["object"], "id") if request["system"] == "xero" else "id"
        named = sent.pop(own, element.get("id", intent["record_id"]))
        case.need(bare(named) == bare(intent["record_id"]), place, "its body names another record")
    case.need(alike(wanted, sent), place, f"intent {intent['intent_id'][:10]} wrote what was not planned")


def as_cell(value: Json) -> Json:
    return value or None if value is None or isinstance(value, (str, dict)) else canonical(value).strip('"')


def merged(pieces: Iterable[Json]) -> dict[str, Json]:
    body: dict[str, Json] = {}
    for piece in pieces:
        for name, value in piece.items():
            if name in SLOTS and isinstance(value, list):
                slots = {slot[SLOTS[name]]: slot for slot in body.get(name, [])}
                for slot in value:
                    slots[slot[SLOTS[name]]] = {**slots.get(slot[SLOTS[name]], {}), **slot}
                body[name] = [slots[key] for key in sorted(slots)]
            else:
                both = isinstance(value, dict) and isinstance(body.get(name), dict)
                body[name] = {**body[name], **value} if both else value
    return body


def filled(value: Json, ids: Mapping[str, str]) -> Json:
    """Put the ids of records that were made into what refers to them; a field of theirs may be anything."""
    if isinstance(value, dict) and "$from" in value:
        made = ids.get(value["$from"])
        if made is None or "field" in value:
            return {"$any": made is not None, "said": value.get("said")}
        return f"{value.get('prefix', '')}{made}{value.get('suffix', '')}"
    if isinstance(value, dict):
        return {name: filled(inner, ids) for name, inner in value.items()}
    return [filled(inner, ids) for inner in value] if isinstance(value, list) else value


def alike(wanted: Json, sent: Json) -> bool:
    if isinstance(wanted, dict) and "$any" in wanted and not isinstance(sent, (dict, list)):
        return wanted["$any"] and (wanted["said"] or str(sent)).casefold() == str(sent).casefold()
    if isinstance(wanted, dict) and isinstance(sent, dict):
        return wanted.keys() == sent.keys() and all(alike(wanted[name], sent[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(sent, list):
        return len(wanted) == len(sent) and all(alike(a, b) for a, b in zip(wanted, sent, strict=True))
    return wanted == sent and isinstance(wanted, bool) == isinstance(sent, bool)


def verify_outcomes(case: Case, where: str, one: Json) -> None:
    plan, needed = case.plans[one["plan"]["hash"]], case.needed(one)
    proven = {op: it for _, it in case.sent(plan.hash) if it["state"] in DONE for op in it["operations"]}
    for row in one["outcomes"]:
        what, outcome, done = f"{where}, {row['operation_id'][:10]}", row["outcome"], row["outcome"] in DONE
        case.need(row["operation_id"] in plan.operations, what, "an outcome of what was never planned")
        case.need(not done or row["record_id"], what, "it is done, and names no record")
        intent = proven.get(row["operation_id"])
        case.need(intent or needed or outcome != "confirmed", what, "confirmed, and no request carried it")
        same = intent is None or not done or bare(intent["result_id"]) == bare(row["record_id"])
        case.need(same, what, "it names another record than its intent")


def verify_once(case: Case) -> None:
    """No operation done twice, no key with two bodies, no request in two certificates."""
    for plan_hash in case.plans:
        carried = (intent for _, intent in case.sent(plan_hash) if intent["state"] in DONE)
        for operation_id, times in Counter(op for one in carried for op in one["operations"]).items():
            case.need(times == 1, f"operation {operation_id[:10]}", f"it was carried out {times} times")
    used = {(one["idempotency_key"] or one["request_id"], one["sha256"]) for one in case.requests()}
    for key, bodies in Counter(key for key, _ in used).items():
        case.need(bodies == 1, f"key {key[:10]}", "it was used for other bytes too")


def verify_snapshots(case: Case) -> None:
    """What a plan says was there before must be what its snapshot shows."""
    for plan, one in ((p, one) for p in case.plans.values() for one in p.operations.values()):
        where = f"plan {plan.hash[:10]}, operation {one['operation_id'][:10]}"
        if one["action"] != "create" and one["record_id"] and one["native_before"] is not None:
            body = plan.seen.get((one["system"], one["object"], bare(one["record_id"])))
            case.need(body is not None, where, "the snapshot does not have its record")
            same = body is None or holds(body, parse(one["native_before"]))
            case.need(same, where, "the snapshot shows another value than it was planned over")


def holds(body: Json, piece: Json) -> bool:
    """Say whether a body has what stands in a piece of it; what is blank may be absent."""
    for name, value in piece.items():
        there, mark = body.get(name), SLOTS.get(name, "")
        same = (there or None) == (value or None)
        if mark and isinstance(value, list):
            slots = {slot.get(mark): slot for slot in there or []}
            same = all(holds({**slots.get(slot[mark], {}), mark: slot[mark]}, slot) for slot in value)
        if not (holds(there or {}, value) if isinstance(value, dict) else same):
            return False
    return True


def verify_history(case: Case) -> None:
    """Every write that the systems saw of us stands in a certificate, and was carried out once."""
    known: dict[Json, list[Json]] = {}  # without a key the same bytes may rightly be sent again, later
    for one in case.requests():
        what = one["path"] if one.get("body") == "" else one["sha256"]  # no bytes: told apart by it
        known.setdefault((one["system"], what, one["idempotency_key"]), []).append(one)
    applied, arrived, made = Counter[Json](), Counter[Json](), Counter[tuple[str, str]]()
    jobs, begun = dict[str, str](), set[str]()  # a job -> the hash of its rows; those that wrote
    for side, row in ((side, row) for side, rows in (case.history or {}).items() for row in rows):
        ours = any(row["client"] in one["writers"][side] for one in case.certificates)
        if not ours or row["method"] in ("GET", "HEAD") or any(word in row["path"] for word in LOGINS):
            continue
        sha, job = row["body_sha256"], JOB.fullmatch(row["path"])
        if job and (row["method"] == "POST" or (row["method"] == "PATCH" and sha != CLOSES)):
            continue  # it makes a job, or ends one: that writes nothing
        if job:
            sha = jobs.setdefault(job[1], sha if row["method"] == "PUT" else "rows that nobody gave")
        where, key = f"{side} {row['n']}", (side, sha or row["path"], row["idempotency_key"])
        some = known.get(key, [])
        case.need(some, where, "a write of ours that no certificate has")
        there = (row["method"], row["path"] + (f"?{row['query']}" if row["query"] else ""))
        same = job or not some or any(there[0] == r["method"] and there[1].endswith(r["path"]) for r in some)
        case.need(same, where, "it went to another address than was kept")
        wrote = row["method"] == "JOB" or (row["applied"] and not job)
        arrived[key] += row["method"] == "PATCH" if job else 1
        applied[key] += wrote and (not job or job[1] not in begun)
        begun |= {job[1]} if job and wrote else set()
        if some and wrote:
            made.update((side, bare(change[2])) for change in row["changes"] or [] if change[0] == "create")
    for key, some in known.items() if case.history else ():
        where, times = f"request {some[0]['request_id'][:10]}", applied[key]
        most = sum(one["state"] != "not_sent" for one in some)
        case.need(times <= most, where, f"it was carried out {times} times, and should have been {most}")
        case.need(arrived[key] <= sum(one["sends"] for one in some), where, "it arrived more often than sent")
        proven = sum(any(it["state"] == "confirmed" for it in one["intents"]) for one in some)
        case.need(proven <= times, where, "it is confirmed, and was never carried out")
    for request, intent in case.sent() if case.history else ():
        place = (request["system"], bare(intent["result_id"]))
        if intent["action"] == "create" and intent["state"] in DONE:
            once = made.pop(place, 0) == 1 or intent["state"] == "adopted"
            case.need(once, f"{place[0]} {place[1]}", "a new record that the system did not make just once")
    case.problems += [f"{side} {record_id}: we made it, and no intent knows it" for side, record_id in made]


def verify_records(case: Case) -> None:
    """Of each record that was made there is one, under the key that it was given."""
    for request, intent in case.sent() if case.records else ():
        if intent["action"] == "create" and intent["state"] in DONE and intent["natural_key"]:
            rows, field_ = (case.records or {}).get(request["system"], []), intent["key_field"]
            key, made = str(intent["natural_key"]).casefold(), bare(intent["result_id"])
            bodies = next((it["Options"] for it in rows if made in str(it.get("Options", "")).lower()), rows)
            where = f"{request['system']} {made}"
            live = (one for one in bodies if not CLOSED & {one.get(name) for name in STATES})
            holders = sum(str(one.get(field_)).strip().casefold() == key for one in live)
            case.need(holders <= 1, where, f"{holders} records carry its key")
            ids = {bare(one[it]) for one in bodies for it in {"Id", *OWN_IDS.values()} & one.keys()}
            case.need(made in ids, where, "it was made, and is not there")


if __name__ == "__main__":
    sys.exit(main())
