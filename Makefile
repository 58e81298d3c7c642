# `make demo` and `make test` each do all the set-up they need, in .venv, from a bare python3.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Errors only: twice quiet leaves out warnings about the user's own pip settings.
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check
# Two workers: the budget of `make test` is ten minutes on two cores.
PYTEST_ARGS ?= -n 2 --dist loadfile

# Settings that would make .venv use something that is not in it.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help demo test lint models conformance fuzz mutants kills bench check-python clean
.DELETE_ON_ERROR:
# Two pips at once in one environment would break it (make -j demo test).
.NOTPARALLEL:

help:
	@echo "make demo   install irconv into $(VENV) and run the demonstration"
	@echo "make test   lint, format, types and tests"
	@echo "make lint   lint, format and types only"
	@echo "make models the nine light models through every form, against onnxruntime"
	@echo "make conformance  ONNX's own test suite: passed, refused, wrong"
	@echo "make fuzz   10,000 random networks through random passes, every backend, the export"
	@echo "make mutants  5,000 changed model files and listings: each loads or is refused, in bounds"
	@echo "make kills  kill -9 at random moments of compiling and exporting, a hundred times"
	@echo "make bench  the nine light models beside onnxruntime and OpenVINO: docs/benchmarks.md"
	@echo "make clean  remove $(VENV), caches and build folders"

demo: $(VENV)/.installed
	$(BIN)/irconv demo

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

models: $(VENV)/.installed-dev
	$(BIN)/python tests/light_networks.py

conformance: $(VENV)/.installed-dev
	$(BIN)/python -m tests.conformance

FUZZ_ARGS ?= --graphs 10000 --seed 0 --jobs 2
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

MUTANTS_ARGS ?= --count 5000 --seed 0 --jobs 2
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

KILLS_ARGS ?= --times 100
kills: $(VENV)/.installed-dev
	$(BIN)/python -m tests.kills $(KILLS_ARGS)

# The campaign of docs/benchmarks.md: half an hour on two idle cores.
BENCH_ARGS ?= --precision strict,fast --threads 1,2 --batch 1,8 --layers
bench: $(VENV)/.installed-bench
	@mkdir -p build
	$(BIN)/irconv bench --light $(BENCH_ARGS) --json build/benchmarks.json \
	  --plot docs/benchmarks.svg --markdown docs/benchmarks.md

check-python:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "error: no '$(PYTHON)' found. Install Python 3.11 or newer," \
	       "or name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: irconv needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1)." \
	       "Name another: make PYTHON=python3.12" >&2; exit 2; }

# Only the stamps say that a step was finished, so an interrupted step is done again.
$(VENV)/.created: | check-python
	@echo "creating $(VENV)" >&2
	@"$(PYTHON)" -m venv --clear $(VENV) || { \
	  echo "error: '$(PYTHON) -m venv' failed (Debian and Ubuntu: apt install python3-venv)" >&2; \
	  rm -rf $(VENV); exit 2; }
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.created
	@echo "installing irconv into $(VENV)" >&2
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.created
	@echo "installing irconv and its development tools into $(VENV)" >&2
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: pyproject.toml $(VENV)/.created
	@echo "installing irconv and OpenVINO into $(VENV)" >&2
	@$(PIP) --editable '.[bench]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find irconv passes backends tests examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
