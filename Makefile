# Set up, run and test. `make run` is all a newcomer needs; `make run ARGS="--model tiny"` passes flags.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup run test check

setup: $(STAMP)

# The stamp is touched last, so a set-up that broke off is done again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "lmm-tui needs Python 3.11 or newer, this is %d.%d; call make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "Setting up $(VENV); torch is large, so the first time takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: setup
	@$(BIN)/lmm-tui launch $(ARGS)

test: check
	$(BIN)/pytest $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
