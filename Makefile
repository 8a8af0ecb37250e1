# Every target makes its own environment first: only python3 (3.11 or newer) and make are needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: damage stop bench-initial bench-push bench-bulk demo test lint bench kill slow dialects prefect-look clean lock chaos chaos-deep real-limits model model-deep mutants
.DEFAULT_GOAL := demo

# Two steps: uv in a small environment of its own, then the locked packages, each checked by its hash.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "making the environment in .venv (once; about 1.5 GB)" >&2
	@test -x .boot/bin/uv || ($(PYTHON) -m venv .boot && .boot/bin/python -m pip install -q uv)
	@test -x $(BIN)/python || .boot/bin/uv venv -q --python $(PYTHON) .venv
	@.boot/bin/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@.boot/bin/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/.ready
	@$(BIN)/reconcile demo

# Chaos, the longest, comes first. Two workers for two cores: with a second thread in each, Polars spends a fifth more on handing work over.
test: .venv/.ready
	@POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 30

lint: .venv/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyrefly check
	@$(BIN)/lint-imports

# The longer sweeps; `make test` runs a short, seeded part of each.
kill: .venv/.ready
	@$(BIN)/python tests/pipelines/kill_pull.py 20
	@$(BIN)/python tests/kill_push.py
	@$(BIN)/python -m tests.kills

slow: .venv/.ready
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m slow --timeout 1200

dialects: .venv/.ready
	@$(BIN)/python -m tests.whole.sweep

# Needs a Chromium: starts Prefect's server, runs the deployment, looks at the artifact's page.
prefect-look: .venv/.ready
	@$(BIN)/python tests/flows/look_at_prefect.py docs/pictures/prefect-artifact.png

bench: .venv/.ready
	@$(BIN)/python -m benchmarks

# Resolves the newest versions that pyproject.toml allows; the lock names no registry.
lock:
	@test -x .boot/bin/uv || ($(PYTHON) -m venv .boot && .boot/bin/python -m pip install -q uv)
	@.boot/bin/uv pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header -o requirements.lock --upgrade

clean:
	rm -rf .venv .boot .demo

# Twenty minutes of real time: real limits, a fixed and a rolling minute.
real-limits: .venv/.ready
	@$(BIN)/python tests/real_limits.py
	@$(BIN)/python tests/real_limits.py --window rolling

# The protocol's own code against simulated vendors in virtual time: seeds of the commit, and a share of all
# single and double faults and crashes. `python -m tests.model --help` tells how to run one again.
model: .venv/.ready
	@$(BIN)/python -m tests.model --seeds 20000
	@$(BIN)/python -m tests.model --exhaustive --part 12

# All of them, and a million seeds: about an hour on two cores.
model-deep: .venv/.ready
	@$(BIN)/python -m tests.model --exhaustive
	@$(BIN)/python -m tests.model --seeds 1000000

# The protocol with one rule broken at a time: the model must find each.
mutants: .venv/.ready
	@$(BIN)/python -m tests.mutants

# The journal, its log and its head cut off or flipped at 2,000 places; the push run again on 200 of them.
damage: .venv/.ready
	@$(BIN)/python tests/damage_journal.py

# A worker stopped (SIGSTOP) at every point of a push, past its lease, and woken after another did the work.
stop: .venv/.ready
	@$(BIN)/python tests/stop_push.py

# What an initial sync asks: of 10,000 customers, 20,000 invoices and 2,000 items, against the fewest; and the bytes that
# it and a push after edits were said to move, against those that they moved.
bench-initial: .venv/.ready
	@$(BIN)/python -m benchmarks.initial

# A push without the network, and the journal alone, against raw sqlite3.
bench-push: .venv/.ready
	@$(BIN)/python -m benchmarks.push

# From how many records on a push to Salesforce should go as a job: calls and seconds, both ways.
bench-bulk: .venv/.ready
	@$(BIN)/python -m benchmarks.bulk_push

# The whole product in small worlds under faults: 0 twice, 0 lost, 0 unsettled. Resumable; again: make chaos.
SEEDS ?= 3000
chaos: .venv/.ready
	@$(BIN)/python -m tests.chaos --seeds $(SEEDS) --workers 2

chaos-deep: .venv/.ready
	@$(MAKE) model-deep
	@$(BIN)/python -m tests.chaos --seeds 10000 --workers 2
