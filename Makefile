# Every target sets up what it needs; the second time that takes no time. ARGS="..." is handed on.
.DEFAULT_GOAL := help
.PHONY: help setup demo test faults soak lint bench lock clean
ARGS ?=
MINUTES ?= 30

help: ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */\1\t/' | expand -t 10

setup: ## install everything for development and tests into .venv
	@scripts/setup dev

demo: ## run everything and show anomalies as they are found (ARGS="--once --json")
	@scripts/setup runtime
	@.venv/bin/sentinel demo $(ARGS)

test: setup ## run the tests against real PostgreSQL, Redis and Kafka (ARGS="tests/ingestion -x")
	@env -u DJANGO_SETTINGS_MODULE .venv/bin/python -m pytest $(ARGS)

faults: setup ## try every fault against the running pipeline (ARGS="-k row_06"), figures in .cache/faults
	@env -u DJANGO_SETTINGS_MODULE SENTINEL_FAULTS_REPORT=$${SENTINEL_FAULTS_REPORT:-.cache/faults} .venv/bin/python -m pytest tests/faults -m fault $(ARGS)

soak: setup ## random faults for MINUTES=30 under 5,000 events/s; prints its seed (SENTINEL_FAULTS_SEED repeats it)
	@env -u DJANGO_SETTINGS_MODULE SENTINEL_SOAK_MINUTES=$(MINUTES) SENTINEL_FAULTS_REPORT=$${SENTINEL_FAULTS_REPORT:-.cache/faults} .venv/bin/python -m pytest tests/faults/test_soak.py -m soak -s $(ARGS)

lint: setup ## ruff, mypy, import-linter, shellcheck, hadolint, Django's checks
	@scripts/lint

bench: ## measure the throughput of the whole path
	@scripts/setup runtime
	@.venv/bin/sentinel bench $(ARGS)

lock: setup ## write requirements/*.txt anew
	@scripts/lock

clean: ## remove .venv, caches and build results (not the data directory)
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
