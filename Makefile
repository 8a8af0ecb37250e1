# Every target makes its own environment first: only python3 (3.11 or newer) and make are needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench kill slow dialects prefect-look clean lock
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

test: .venv/.ready
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyrefly check
	@$(BIN)/lint-imports

# The longer sweeps; `make test` runs a short, seeded part of each.
kill: .venv/.ready
	@$(BIN)/python tests/pipelines/kill_pull.py 20
	@$(BIN)/python tests/kill_push.py

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
