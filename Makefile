# One command each. `make run` and `make test` need Python 3.11+ and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup run test lint format bench docs rules lock

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Wenzhen needs Python 3.11 or newer; set PYTHON=/path/to/python3.11 and try again." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "No virtual environment could be made here: install Python's venv module (Debian: apt install python3-venv), and check that this folder is writable." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: setup
	$(BIN)/wenzhen serve --demo

# by file, those that share a server stay together; in the order of tests/conftest.py
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m bench

docs: setup
	$(BIN)/wenzhen docs --out docs/reference

rules: setup
	$(BIN)/python -m tests.rules

lock: setup
	$(BIN)/python -m pip freeze --exclude-editable | grep -v '^wenzhen' > constraints.txt
