"""What a verifier is given, in a form in which a liar can change it and seal it again as if nothing had been."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

Json = Any


def canonical(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sha256(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


@dataclass
class PlanFiles:
    manifest: Json
    tables: dict[str, pl.DataFrame]


@dataclass
class Evidence:
    """Certificates in the order of their runs, plans by hash, the systems' logs and records by side."""

    certificates: list[Json]
    plans: dict[str, PlanFiles]
    history: dict[str, list[Json]]
    records: dict[str, list[Json]]

    def copied(self) -> Evidence:
        plans = {h: PlanFiles(copy.deepcopy(p.manifest), dict(p.tables)) for h, p in self.plans.items()}
        return Evidence(copy.deepcopy(self.certificates), plans, *copy.deepcopy((self.history, self.records)))

    # -- what a liar looks for

    def requests(self) -> Iterator[Json]:
        for one in self.certificates:
            yield from one["requests"]

    def request(self, **wanted: Any) -> Json:
        """Give the first request of which these hold; action is that of its first intent; job: it went as one."""
        by_job = wanted.pop("job", False)
        for one in (one for one in self.requests() if one["path"].startswith("jobs/") == by_job):
            told = {**one, "action": one["intents"][0]["action"], "many": len(one["intents"]) > 1}
            if all(told[name] == value for name, value in wanted.items()):
                return one
        raise LookupError(wanted)

    def rows(self, kind: str) -> list[Json]:
        return [row for one in self.certificates for row in one["chain"]["rows"] if row["kind"] == kind]

    def row_of(self, request: Json) -> Json:
        """Give the audit row that intended a request."""
        return next(row for row in self.rows("intended") if request["request_id"] in row["details"])

    def logged(self, request: Json) -> Json:
        rows = self.history[request["system"]]
        mine = [row for row in rows if row["body_sha256"] == request["sha256"]]
        return next(row for row in mine if row["applied"] or "/jobs/" in row["path"])

    def plan(self) -> PlanFiles:
        return self.plans[self.certificates[0]["plan"]["hash"]]

    def operations(self) -> pl.DataFrame:
        return self.plan().tables["operations"]

    # -- sealing again

    def set_operations(self, **columns: pl.Expr) -> None:
        self.plan().tables["operations"] = self.operations().with_columns(**columns)

    def seal_plans(self) -> None:
        """Give each plan's tables their hashes again, and its manifest to the certificates."""
        for plan_hash, plan in self.plans.items():
            plan.manifest["sha256"] |= {name: sha256(parquet(table)) for name, table in plan.tables.items()}
            for one in self.certificates:
                if one["plan"]["hash"] == plan_hash:
                    one["plan"]["manifest_sha256"] = sha256(manifest_bytes(plan))

    def seal_chains(self) -> None:
        for one in self.certificates:
            before, first = one["chain"]["before"], None
            for place, row in enumerate(one["chain"]["rows"]):
                first = row["sequence"] if first is None else first
                row["sequence"] = first + place
                plain = {name: value for name, value in row.items() if name != "hash" and value is not None}
                row["hash"] = sha256(before + canonical(plain))
                before = row["hash"]

    def seal(self) -> None:
        for one in self.certificates:
            content = {name: value for name, value in one.items() if name != "sha256"}
            one["sha256"] = sha256(canonical(content))

    def write(self, folder: Path) -> list[str]:
        """Write all of it; gives the verifier's arguments."""
        (folder / "certificates").mkdir(parents=True)
        (folder / "plans").mkdir()
        for place, one in enumerate(self.certificates):
            text = json.dumps(one, ensure_ascii=False, indent=1)
            (folder / "certificates" / f"{place}.json").write_text(text, encoding="utf-8")
        for plan_hash, plan in self.plans.items():
            (folder / "plans" / f"{plan_hash}.json").write_bytes(manifest_bytes(plan))
            for name, table in plan.tables.items():
                file = f"{plan_hash}.parquet" if name == "operations" else f"{plan_hash}.{name}.parquet"
                (folder / "plans" / file).write_bytes(parquet(table))
        for name, content in (("history", self.history), ("records", self.records)):
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        files = [f"--history={folder}/history.json", f"--records={folder}/records.json"]
        return [str(folder / "certificates"), *files]


def parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def manifest_bytes(plan: PlanFiles) -> bytes:
    return json.dumps(plan.manifest, ensure_ascii=False, indent=1).encode()


def read_evidence(
    folder: Path, history: Mapping[str, list[Json]], records: Mapping[str, list[Json]]
) -> Evidence:
    data = next(folder.rglob("certificates")).parent
    certificates = [json.loads(file.read_text()) for file in (data / "certificates").glob("*.json")]
    certificates.sort(key=lambda one: one["run"]["started_at"])
    plans = {}
    for plan_hash in {one["plan"]["hash"] for one in certificates}:
        tables = {
            name: pl.read_parquet(
                data
                / "plans"
                / (f"{plan_hash}.parquet" if name == "operations" else f"{plan_hash}.{name}.parquet")
            )
            for name in ("operations", "seen")
        }
        plans[plan_hash] = PlanFiles(json.loads((data / "plans" / f"{plan_hash}.json").read_text()), tables)
    return Evidence(certificates, plans, dict(history), dict(records))
