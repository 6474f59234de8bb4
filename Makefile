# For developers: `make setup`, `make lint`, `make unit` (no Docker, no vLLM), `make test` (all that this machine can run),
# `make coverage` (the same as `make unit`, counting what of the code it runs, also in processes of their own).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install-dev.log
SPREAD := --numprocesses auto --maxprocesses 4 --dist loadgroup
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup lint unit coverage test

setup: $(VENV)/.installed-dev
	@:

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml
	@"$(PYTHON)" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer with venv is needed; name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'Setting up $(VENV) with the pinned packages of requirements-dev.lock ...'
	@[[ -x $(BIN)/python ]] || "$(PYTHON)" -m venv $(VENV)
	@{ $(PIP) --require-hashes -r requirements-dev.lock && $(PIP) --no-deps --no-build-isolation -e .; } >$(LOG) 2>&1 || \
	  { grep -v '^WARNING' $(LOG) | tail -n 8 >&2; echo 'That failed; the whole log is $(LOG).' >&2; exit 1; }
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh tests/world/*.sh tests/world/gpu/*.sh .ci/run; \
	  else echo 'shellcheck is not installed: shell scripts were not checked'; fi

unit: setup
	$(BIN)/pytest tests/unit tests/contract

coverage: setup
	$(BIN)/pytest $(SPREAD) --cov --cov-report=term tests/unit tests/contract

test: lint
	$(BIN)/pytest $(SPREAD)
