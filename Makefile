# python3 (3.11 or later) and make are all that a machine needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup serve demo test soak check bench lock clean
.DEFAULT_GOAL := help

help: ## What each target does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

.venv/ready: requirements.txt pyproject.toml
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

test: setup ## All tests
	$(BIN)/python -m pytest $(TEST_FLAGS)

soak: setup ## Long runs with another seed each time, which they print; STREAMGAUGE_SOAK_SECONDS each (600)
	$(BIN)/python -m pytest -s tests/soak $(SOAK_FLAGS)

check: setup ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## The benchmarks; a table at the end
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

lock: ## Renew requirements.txt from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev -o requirements.txt pyproject.toml

clean:
	rm -rf .venv
