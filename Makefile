# Every target makes what it needs first; none needs root.
#
#   make run        the demo on http://127.0.0.1:8080 (HOST=… PORT=… for another address)
#   make test       format, lint, types, all tests but the slow ones, coverage
#   make check      format, lint and types only
#   make format     rewrites the files the way `make check` wants them
#   make docs       the documentation, into build/docs
#   make bench      the benchmarks
#   make test-full  as `make test`, with the tests that take minutes
#   make test-all   the tests on every Python 3.11 to 3.14 of this machine
#                   (tests run in a process for each core; WORKERS=0: in one, for a debugger)
#   make setup      the environment .venv, and nothing else
#   make clean      removes all that the targets made

# not from the environment: some shells put the machine's name into HOST
HOST = 127.0.0.1
PORT = 8080
WORKERS = auto
export PYTHON
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX
# the tests start some hundred processes, and without bytecode each compiles all that it imports
unexport PYTHONDONTWRITEBYTECODE

venv := .venv
python := $(venv)/bin/python
# what is formatted, linted and type-checked, of what is there
sources := $(wildcard src tests examples docs bench tools)
typed := $(wildcard src tests examples docs/examples bench tools)
pure := src/openapi/protocol/*,src/openapi/schema/*,src/openapi/errors.py

.DELETE_ON_ERROR:
.PHONY: help setup run test check format docs bench test-full test-all clean FORCE

help:
	@sed -n 's/^#   //p' Makefile

# --- environment ---------------------------------------------------------------------------------
# An environment whose interpreter has gone away is made anew.
alive := $(shell $(python) -c 1 2>/dev/null && echo yes)

setup: $(venv)/.project

$(venv)/.requirements: requirements/dev.txt tools/venv tools/python $(if $(alive),,FORCE)
	@found=$$(tools/python) && tools/venv $(venv) "$$found" requirements/dev.txt
	@touch $@

# a change of pyproject.toml needs no new environment, only the project's own entry in it
$(venv)/.project: pyproject.toml $(venv)/.requirements
	@$(python) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(python) -m pip check --quiet
	@touch $@

$(venv)/.docs: requirements/docs.txt $(venv)/.project
	@$(python) -m pip install --quiet --disable-pip-version-check --requirement requirements/docs.txt
	@touch $@

# Node runs the clients that are not ours. Where the machine has none, a pinned one goes into .venv.
node_on_path := $(shell node -e 'process.exit(parseInt(process.versions.node) < 18)' 2>/dev/null && npm --version >/dev/null 2>&1 && echo yes)

$(venv)/.node: tests/foreign/package-lock.json $(venv)/.project $(if $(node_on_path),,requirements/node.txt)
ifndef node_on_path
	@$(python) -m pip install --quiet --disable-pip-version-check --requirement requirements/node.txt || { \
	    echo "the tests need Node.js 18 or newer, with npm: sudo apt-get install nodejs npm, then run make again." >&2; exit 1; }
endif
	@cd tests/foreign && PATH="$(CURDIR)/$(venv)/bin:$$PATH" npm ci --loglevel=error --ignore-scripts --no-audit --no-fund --no-update-notifier
	@touch $@

# --- targets -------------------------------------------------------------------------------------
run: $(venv)/.project
	@exec $(venv)/bin/openapi serve examples/monitor.py:create_app --host $(HOST) --port $(PORT)

check: $(venv)/.project
	$(python) -m ruff format --check $(sources)
	$(python) -m ruff check $(sources)
	$(python) -m mypy $(typed)

format: $(venv)/.project
	$(python) -m ruff check --fix-only $(sources)
	$(python) -m ruff format $(sources)

# a process for each core; more than eight gain little, and a container may count cores not its own
workers = --numprocesses=$(WORKERS) --maxprocesses=8 --dist=worksteal
pytest = PATH="$(CURDIR)/$(venv)/bin:$$PATH" $(python) -m coverage run -m pytest $(workers)

test: check $(venv)/.node
	@rm -f .coverage .coverage.*
	$(pytest)
	@$(MAKE) --no-print-directory .coverage-thresholds

test-full: check $(venv)/.node
	@rm -f .coverage .coverage.*
	OPENAPI_FULL=1 $(pytest) -m ""
	@$(MAKE) --no-print-directory .coverage-thresholds

.PHONY: .coverage-thresholds
.coverage-thresholds:
	@$(python) -m coverage combine --quiet
	@echo "Coverage of the pure core: 100 % is wanted"
	@$(python) -m coverage report --include='$(pure)' --fail-under=100; pure=$$?; \
	echo; echo "Coverage of the shells around it: 95 % is wanted"; \
	$(python) -m coverage report --omit='$(pure)' --fail-under=95 && exit $$pure

docs: $(venv)/.docs
	$(python) -m sphinx -W -E -a --keep-going --quiet -b html docs build/docs
	@echo "build/docs/index.html"

bench: $(venv)/.project
	$(python) -m bench.run $(BENCH)

test-all: $(venv)/.node
	@PATH="$(CURDIR)/$(venv)/bin:$$PATH" $(python) tools/test_all.py $(workers)

clean:
	rm -rf $(venv) .venvs build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/foreign/node_modules
	find src tests examples docs bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
