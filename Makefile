# Set up, run and test. `make run` is all a newcomer needs; `make run ARGS="--model tiny"` passes flags.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PIP := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: setup run test check lock audit

setup: $(STAMP)

# The stamp is touched last, so a set-up that broke off is done again. Every file has to have a hash
# of requirements.lock, but for torch: which build of it is right depends on the machine.
$(STAMP): pyproject.toml constraints.txt requirements.lock build.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "lmm-tui needs Python 3.11 or newer, this is %d.%d; call make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "Setting up $(VENV); torch is large, so the first time takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --no-deps -r build.lock
	$(PIP) --require-hashes --no-deps --no-build-isolation -r requirements.lock
	$(PIP) -c constraints.txt torch
	$(PIP) --no-deps --no-build-isolation -e .
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

# With the versions of constraints.txt and the hashes of PyPI; `uv` is not installed by `make setup`.
# torch brings its CUDA libraries itself.
lock:
	uv pip compile pyproject.toml --extra dev --constraint constraints.txt --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
	  $(addprefix --no-emit-package ,torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
	    $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand \
	      cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)) \
	  --output-file requirements.lock
	sed -n '/^setuptools==/,/^[^ ]/{/^setuptools==/p;/^ /p}' requirements.lock > build.lock

# Known vulnerabilities of the locked versions; it asks PyPI.
audit:
	pip-audit --requirement requirements.lock --disable-pip --no-deps
