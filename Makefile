# python3 (3.11 or later) and make are all that a machine needs; with a C compiler and Python.h it becomes faster.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup serve demo test soak check bench bench-scale bench-comparison bench-table lock lock-comparison clean
.DEFAULT_GOAL := help

help: ## What each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 24

.venv/ready: requirements.txt pyproject.toml hatch_build.py $(wildcard src/streamgauge/native/*.[ch])
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Streamgauge needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: .venv/ready ## .venv from the lock file

serve: setup ## The server on 127.0.0.1:8420, data in ./data
	$(BIN)/streamgauge serve

demo: setup ## Server, real usage streamed in, totals compared; Ctrl-C ends it
	$(BIN)/streamgauge demo $(DEMO_FLAGS)

# In the order of their folders, so that the many small files of unit/ come last and neither worker waits for the other.
test: setup ## All tests, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TEST_FLAGS)

soak: setup ## Long runs with other seeds each time, about an hour and a half; a summary at the end
	$(BIN)/python -m tests.soak $(SOAK_FLAGS)

check: setup ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## The main set of benchmarks, about 15 minutes; a table at the end
	$(BIN)/python -m benchmarks suite $(BENCH_FLAGS)

bench-scale: setup ## With 1M, 10M and 100M events stored; about an hour and 20 GB of disk
	$(BIN)/python -m benchmarks scale --json benchmarks/results/scale.json $(BENCH_FLAGS) --events 1M 10M 100M

COMPARISON := benchmarks/comparison
$(COMPARISON)/.venv/ready: $(COMPARISON)/requirements.txt
	$(PYTHON) -m venv $(COMPARISON)/.venv
	$(COMPARISON)/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench-comparison: setup $(COMPARISON)/.venv/ready ## PostgreSQL and Redis under the same load; about 10 minutes. Installs them by apt
	$(BIN)/python -m benchmarks compare --install --json benchmarks/results/comparison.json $(BENCH_FLAGS)

bench-table: setup ## docs/performance.md from the raw results
	$(BIN)/python -m benchmarks table --page docs/performance.md

lock: ## Renew requirements.txt from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev -o requirements.txt pyproject.toml

lock-comparison: ## Renew the lock of the services that we are compared with (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o $(COMPARISON)/requirements.txt $(COMPARISON)/requirements.in

clean:
	rm -rf .venv $(COMPARISON)/.venv
