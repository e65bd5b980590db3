# What one does with a checkout. Each target makes the environment it needs; `make help` lists them.
# A plain Debian with python3 and make is enough; as root, what is missing comes through apt.

PYTHON ?= python3
JOBS ?= apsis_nb/demo/jobs
SOAK ?= laws files kills archive steady requests follow

BIN := .venv/bin
VENV := .venv/.installed
VENV_NEW := .venv-new/.installed
PYTEST := -m pytest -q
# Hundreds of processes are started by the tests: each would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=
# Most tests wait for programs half of their time, so a few at once share the cores; who has done his takes others'.
ABREAST := -n 4 --dist worksteal

# A newer Python than ours, if the machine has one; and what core, store and engine need there, no more.
NEWEST = $(shell $(PYTHON) tools/newest_python.py)
NEWEST_TESTS := tests/core tests/store tests/engine
NEWEST_NEEDS := aiosmtpd apprise cronsim duckdb fastapi holidays httptools httpx2 hypothesis jinja2 orjson pandas prometheus-client pyarrow pydantic pytest pytest-randomly pytest-xdist pyyaml typer tzdata uvicorn watchfiles websockets

.DEFAULT_GOAL := help
.PHONY: help demo serve test check static alone soak bench newest new-venv clean

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)  ## a server with demo jobs, made-up history and the dashboards
	@$(BIN)/apsis-nb demo --dir .demo --history 20000

serve: $(VENV)  ## a server for your jobs: make serve JOBS=path/to/jobs
	@$(BIN)/apsis-nb serve $(JOBS)

check: static  ## format, lint, types, layers, tests of the core: under a minute
	@$(BIN)/python $(PYTEST) tests/core

test:  ## everything, on python3; core, store and engine again on the newest Python here
	@$(MAKE) --no-print-directory --jobs=2 $(VENV) new-venv
	@$(MAKE) --no-print-directory static
	@tools/chromium
	@$(BIN)/python $(PYTEST) $(ABREAST) -m "not alone"
	@$(MAKE) --no-print-directory --jobs=2 --output-sync alone newest

# What is held to a time. Half of it is waiting, so the newest Python is tried beside it, and gives way.
alone: $(VENV)
	@$(BIN)/python $(PYTEST) -m alone

soak: $(VENV)  ## laws over 10,000 worlds, 300 kills of each kind, half an hour of load; one of them: make soak SOAK=kills
	@set -e; for part in $(SOAK); do case $$part in \
		laws) $(BIN)/python $(PYTEST) --hypothesis-profile=soak -o faulthandler_timeout=0 tests/core/test_laws.py -k whatever_crashes;; \
		files) $(BIN)/python $(PYTEST) --hypothesis-profile=soak -o faulthandler_timeout=0 tests/store -k kill_9;; \
		kills | archive | steady | requests | follow) $(BIN)/python -m tests.soak.$$part;; \
		*) echo "SOAK is laws, files, kills, archive, steady, requests, follow, or several of them, not $$part" >&2; exit 2;; \
	esac; done

bench: $(VENV)  ## the benchmarks; some of them: make bench BENCH="history load"
	@$(BIN)/python benchmarks/run.py $(BENCH)

clean:  ## remove the environments and what tools left behind
	@rm -rf .venv .venv-new .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

static: $(VENV)
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.venv/lint-imports.txt 2>&1 || { cat .venv/lint-imports.txt; exit 1; }
	@echo "format, lint, types, layers: clean"

# What is found there was found on the older Python too, but for its own changes: so with few made-up cases.
newest: $(VENV) new-venv
	@if [ -n "$(NEWEST)" ]; then \
		nice .venv-new/bin/python $(PYTEST) $(ABREAST) -m "not slow and not alone" --hypothesis-profile=few $(NEWEST_TESTS) && \
		echo "tested on $$($(BIN)/python --version) and, core, store and engine, on $$(.venv-new/bin/python --version)"; \
	else \
		echo "tested on $$($(BIN)/python --version): no newer one is here"; \
	fi

new-venv:
	@if [ -n "$(NEWEST)" ]; then $(MAKE) --no-print-directory $(VENV_NEW); fi

$(VENV): pyproject.toml constraints.txt
	@tools/venv $(PYTHON) .venv -e '.[notebook,dev]'
	@touch $@

$(VENV_NEW): pyproject.toml constraints.txt
	@tools/venv $(NEWEST) .venv-new $(NEWEST_NEEDS)
	@.venv-new/bin/pip install -qq --no-deps -e .
	@touch $@
