# Every target sets up what it needs by itself; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON_3 := .venv/bin/python
PYTHON_2 := .venv-2.11/bin/python
# Tests wait for processes now and then: three at once keep two cores busy. The heavy ones bring servers that compute.
WORKERS ?= 3
HEAVY_WORKERS ?= 2
TESTS ?= tests

# Nobody's own Airflow is touched, and the two lines do not share a configuration file.
export AIRFLOW_HOME := $(CURDIR)/.cache/airflow-3.3
export AIRFLOW__CORE__LOAD_EXAMPLES := False

.PHONY: help setup setup-2.11 demo test unit test-lowest test-heavy lint format docs bench clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv (newest Airflow); does nothing when it is up to date
	@scripts/setup

setup-2.11:  ## make .venv-2.11 (Airflow 2.11, lowest dependencies)
	@scripts/setup 2.11

demo: setup  ## PostgreSQL to DuckDB through Airflow, twice, with proof
	@$(PYTHON_3) -m demo

test: lint docs unit test-lowest  ## everything that must pass before a merge

unit: setup  ## the tests alone, on the newest Airflow (TESTS=path)
	$(PYTHON_3) -m pytest $(TESTS) -n $(WORKERS) --dist worksteal

test-lowest: export AIRFLOW_HOME := $(CURDIR)/.cache/airflow-2.11
test-lowest:  ## contract and discovery tests on Airflow 2.11 with the lowest dependencies
	@scripts/setup 2.11 || { code=$$?; [ $$code = 3 ] && exit 0; exit $$code; }
	@[ ! -x $(PYTHON_2) ] || $(PYTHON_2) -m pytest $(TESTS) -m "lowest and not heavy" -n $(WORKERS) --dist worksteal

test-heavy: setup  ## the tests that take minutes or rare engines; lists every skip
	@WORKERS=$(HEAVY_WORKERS) scripts/test-heavy

lint: setup  ## ruff, mypy --strict and the layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check --quiet . || { .venv/bin/ruff format --check .; echo "make format mends this"; exit 1; }
	.venv/bin/mypy
	.venv/bin/lint-imports --cache-dir .cache/import-linter

format: setup  ## let ruff lay out and mend what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: setup  ## docs/_build/html; warnings are errors
	@if [ -e docs/conf.py ]; then .venv/bin/sphinx-build -W --keep-going -q -b html docs docs/_build/html; else echo "docs: no docs/conf.py yet"; fi

bench: setup  ## side by side with its peers, as ratios
	@$(PYTHON_3) -m benchmarks

clean:  ## remove caches and throw-away data, keep the environments
	rm -rf .cache .demo .bench .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist docs/_build reports
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environments too
	rm -rf .venv .venv-2.11
