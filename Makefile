# make demo    the main job on embedded data: table, report, and where it is
# make test    every check and every test
# make check   the checks without the tests
# make format  format the code
# make docs    write the pages of docs/ that come from the code
#
# Each needs Python 3.11 or newer and nothing else: .venv is made and filled as needed, and nothing outside is touched.

PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin
QUIET := $(shell [ -t 2 ] || echo --quiet)# at a terminal, pip shows its progress
INSTALL := $(BIN)/python -m pip install $(QUIET) --disable-pip-version-check --constraint constraints.txt
CODE := $(wildcard src tests benchmarks tools docs/generate.py)
REQUIREMENTS := pyproject.toml constraints.txt

.PHONY: demo test check format docs

demo: .venv/.ready
	@echo "== foolscope demo"
	@$(BIN)/foolscope demo

test: check
	@echo "== pytest"
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

check: .venv/.ready-dev
	@echo "== ruff check"
	@$(BIN)/ruff check $(CODE)
	@echo "== ruff format --check"
	@$(BIN)/ruff format --check $(CODE)
	@echo "== mypy --strict"
	@$(BIN)/mypy $(CODE)
	@echo "== lint-imports"
	@$(BIN)/lint-imports

format: .venv/.ready-dev
	@$(BIN)/ruff check --fix-only --exit-zero $(CODE)
	@$(BIN)/ruff format $(CODE)

docs: .venv/.ready
	@$(BIN)/python docs/generate.py

# An installation is done again when pyproject.toml or constraints.txt is newer than its stamp.

.venv/.ready: $(REQUIREMENTS) | .venv/.python
	@echo "== installing foolscope into .venv (torch is large: several minutes the first time) ..."
	@$(INSTALL) --editable .
	@touch $@

.venv/.ready-dev: $(REQUIREMENTS) | .venv/.python
	@echo "== installing foolscope and its tests' tools into .venv (several minutes the first time) ..."
	@$(INSTALL) --editable '.[dev,timm,onnx,bench,ray]'
	@touch .venv/.ready $@

# An environment that is there already is kept; one that was left half-made is completed.

OLD := import sys; sys.exit(sys.version_info < (3, 11))

.venv/.python:
	@$(PYTHON) --version >/dev/null 2>&1 \
	    || { echo "There is no '$(PYTHON)': install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c '$(OLD)' \
	    || { echo "$$($(PYTHON) --version) is too old: foolscope needs 3.11 or newer. Name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(BIN)/python --version >/dev/null 2>&1 \
	    || { echo "== creating .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear --without-pip .venv; }
	@$(BIN)/python -c '$(OLD)' \
	    || { echo ".venv holds $$($(BIN)/python --version), and foolscope needs 3.11 or newer: remove .venv and repeat." >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
	    || $(BIN)/python -m ensurepip --default-pip >/dev/null \
	    || { echo "$(PYTHON) comes without pip: install it (Debian and Ubuntu: apt install python3-venv)." >&2; exit 2; }
	@touch $@
