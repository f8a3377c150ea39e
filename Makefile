# Two commands are enough for most people: `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
UV := .tools/bin/uv
BIN := .venv/bin

# A file of its own per environment, so that an unchanged lock costs nothing.
SYNCED := .venv/.synced-$(shell sha256sum requirements.lock pyproject.toml | sha256sum | cut -c1-16)

.PHONY: help setup lock lock-flink demo up down test check static format types unit engine doris-test e2e events events-full drills drill-disk soak screenshot clean

help: ## list the targets
	@grep -hE '^[a-z0-9_-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or 3.12 is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet "uv>=0.9,<1"

$(SYNCED): $(UV) requirements.lock pyproject.toml
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python .venv --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	rm -f .venv/.synced-*; touch $@

setup: $(SYNCED) ## make the Python environment from the lock

lock: $(UV) ## resolve the dependencies anew (hashes, no addresses)
	$(UV) pip compile pyproject.toml --group dev --upgrade --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet --output-file requirements.lock

lock-flink: $(UV) ## resolve the Flink client's dependencies anew
	cd flink_jobs && ../$(UV) pip compile pyproject.toml --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet --output-file requirements.lock

demo: setup ## install, start, replay real flights, verify, leave the Dagster UI open
	$(BIN)/lakehouse demo

up: setup ## start every engine and Dagster
	$(BIN)/lakehouse up

down: setup ## stop them
	$(BIN)/lakehouse down

format: setup ## format the code
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

types: setup
	$(BIN)/mypy

unit: setup
	$(BIN)/pytest tests/unit -q -n 2 --dist worksteal

static: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/dg check yaml
	$(BIN)/dg check defs

check: setup ## the fast gate: lint, types, unit tests, definitions load
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target static unit

engine: setup ## tests against the real engines
	$(BIN)/pytest tests/engine -v

doris-test: setup ## tests against a real Doris (LAKEHOUSE_DORIS_HOST), beside the other engines
	LAKEHOUSE_TEST_DORIS=1 $(BIN)/pytest tests/engine/test_doris.py -v

e2e: setup ## the whole flow through Dagster, verified row for row
	$(BIN)/pytest tests/e2e -v

events: setup ## events that lose changes elsewhere, each compared; writes the table of docs/correctness.md
	$(BIN)/pytest tests/engine/test_events.py -v --durations=0; code=$$?; \
	$(BIN)/python -m bench.correctness_report && exit $$code

events-full: export LAKEHOUSE_EVENTS_FULL = 1
events-full: events ## the same in full size: a million rows in a transaction, one open for an hour

drills: setup ## inject every fault into the running instance, under writes; the table at the end
	$(BIN)/lakehouse drill all

drill-disk: setup ## fill the disk of an instance on a small file system of its own (root)
	$(BIN)/python -m lakehouse_dagster.drills.volume

KILLS ?= 50
SEED ?= 1
soak: setup ## kill KILLS random engines (SEED) of the running instance, under writes
	$(BIN)/lakehouse drill soak --kills $(KILLS) --seed $(SEED)

test: check ## the fast gate, the engine tests, the end-to-end tests
	$(BIN)/pytest tests/engine tests/e2e -m "not slow" -v --durations=15

test-all: check ## the same with the tests that take too long for every run
	$(BIN)/pytest tests/engine tests/e2e -v --durations=15

clean: ## remove the Python environments (never data)
	rm -rf .venv .tools
