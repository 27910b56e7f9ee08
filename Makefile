# Each target sets up what it needs; the second run of any is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .venv-clients

.PHONY: demo test lint docs bench test-postgres test-clients clean

demo: $(VENV)/.core
	$(BIN)/outthink demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/python scripts/build_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/client_overhead.py

test-clients: $(CLIENTS)/.ready
	$(CLIENTS)/bin/python -m pytest -p no:asyncio tests/clients tests/gateway/test_document.py

test-postgres: $(VENV)/.dev
	$(BIN)/pip install --quiet -e '.[postgres]'
	$(BIN)/python scripts/test_postgres.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "outthink needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "cannot make a virtual environment: install the venv module (Debian: python3-venv)"; exit 1; }

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.core

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(VENV)/.core

# client libraries pull each other's versions about: they have an environment of their own
$(CLIENTS)/.ready: pyproject.toml scripts/clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check -e '.[gateway]' -r scripts/clients.txt
	@touch $@

clean:
	rm -rf $(VENV) $(CLIENTS) outthink-demo site docs/reference
