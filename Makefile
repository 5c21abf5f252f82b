# Everything that this project is run, tested and checked with. Each target sets up .venv itself.
# An interpreter of your choice: make PYTHON=/path/to/python3.12 test

.DEFAULT_GOAL := help
.PHONY: help all demo test test-fast test-cold kill matrix typecheck lint bench clean

PY := .venv/bin/python
STAMP := .venv/.installed
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

all: lint typecheck test demo ## lint, typecheck, test, demo

demo: $(STAMP) ## run the quickstart notebook on this machine's packages, into build/demo
	@.venv/bin/flujo-nb run notebooks/01_quickstart.ipynb --output build/demo --html

test: $(STAMP) strace ## every test: most of them two at a time, then those that measure or send signals
	@$(PY) -m pytest -n 2 --dist loadfile -m "not alone"
	@$(PY) -m pytest -m alone

test-fast: $(STAMP) ## the tests that need no kernel, no install and few examples, under 30 seconds
	@$(PY) -m pytest -n 2 -m "not kernel and not install and not thorough"

test-cold: $(STAMP) ## the engine's tests with every frame read back from a store
	@FLUJO_COLD=1 $(PY) -m pytest -n 2 tests/engine tests/slices tests/properties

kill: $(STAMP) strace ## kill every flow at every write and sync of its store, and resume it; needs strace
	@$(PY) -m tests.crash.kill_all

matrix: $(STAMP) ## the front on old and new pairs of ipykernel and IPython, each in its environment
	@FLUJO_MATRIX=1 $(PY) -m pytest tests/kernel/test_matrix.py

typecheck: $(STAMP) build/typing ## mypy, strict
	@$(PY) -m mypy

lint: $(STAMP) build/typing ## ruff (rules and format), import layers
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@cd build/typing && $(CURDIR)/.venv/bin/lint-imports --config $(CURDIR)/pyproject.toml --no-logo --cache-dir $(CURDIR)/build/import_linter

bench: $(STAMP) ## the cost of a step, an import, a load and a cell
	@$(PY) benches/run.py

clean: ## remove what was built and cached; .venv stays
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -rf .coverage flujo_nb.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# What stops processes at every write; the tests that need it say so when it is missing.
.PHONY: strace
strace:
	@command -v strace >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && { apt-get install -qq -y strace >/dev/null 2>&1 \
	    || { apt-get update -qq && apt-get install -qq -y strace >/dev/null; }; }; } \
	|| echo "strace is missing: apt install strace" >&2

# A package that is new or gone changes what there is to link, so the tree is laid out each time.
.PHONY: build/typing
build/typing: $(STAMP)
	@$(PY) tools/link_tree.py build/typing

# A name on the PATH may not run (a pyenv shim), be too old, or lack ensurepip (Debian without
# python3-venv): take the first that is complete, and say what is missing when there is none.
$(STAMP): pyproject.toml setup.cfg constraints.txt
	@if .venv/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
	bare=; \
	for name in $(PYTHONS); do \
	  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  if "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "setting up .venv with $$("$$name" --version), once; this takes about a minute"; \
	    exec "$$name" -m venv --clear .venv; \
	  fi; \
	  bare="$${bare:-$$name}"; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$$bare cannot make virtual environments: its ensurepip is missing." >&2; \
	  echo "On Debian or Ubuntu: apt install python3-venv. Then run make again." >&2; \
	else \
	  echo "No Python 3.11 or newer runs under any of these names: $(strip $(PYTHONS))." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	fi; \
	exit 1
	@$(PY) -m pip install -qq -c constraints.txt setuptools
	@$(PY) -m pip install -qq -c constraints.txt --no-build-isolation -e '.[agents,data,html,tutorials,test,dev]'
	@.venv/bin/flujo-nb install --sys-prefix >/dev/null # an editable installation carries none
	@touch $@
