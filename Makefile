# Every target makes what it needs first; none needs root. Only Chromium, where the machine has
# none, is installed by apt, if that needs no password; otherwise `make test` says how to.
#
#   make run        the demo, a page on http://127.0.0.1:8080 (HOST=… PORT=… for another address)
#   make test       format, lint, types, all tests but the slow ones, coverage; the tests of the
#                   JavaScript client, in Node.js and in Chromium
#   make check      format, lint and types only, of Python and of JavaScript
#   make test-js    the tests of the JavaScript client only
#   make format     rewrites the files the way `make check` wants them
#   make docs       the documentation, into build/docs
#   make bench      this server and others, measured side by side, into docs/benchmarks.md; and the
#                   instructions that it takes (BENCH="--workload rpc-1": some of it, and no page)
#   make bench-quick
#                   the main figures in two minutes, and no page
#   make test-full  as `make test`, with the tests that take minutes
#   make test-all   the tests on every Python 3.11 to 3.14 of this machine
#                   (tests run in as many processes as cores and one; WORKERS=0: in one, for a debugger)
#   make setup      the environment .venv, and nothing else
#   make clean      removes all that the targets made

# not from the environment: some shells put the machine's name into HOST
HOST = 127.0.0.1
PORT = 8080
# one more than there are cores, for tests wait, too: for sockets, processes, servers
WORKERS = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1)))
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
.PHONY: help setup run test check format docs bench bench-quick test-full test-js test-all clean FORCE

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

# Node runs our JavaScript client, and clients that are not ours. Where the machine has none that is
# new enough, a pinned one goes into .venv.
node_on_path := $(shell node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' 2>/dev/null && npm --version >/dev/null 2>&1 && echo yes)
with_venv := PATH="$(CURDIR)/$(venv)/bin:$$PATH"
npm_ci := $(with_venv) npm ci --loglevel=error --ignore-scripts --no-audit --no-fund --no-update-notifier

$(venv)/.node: $(venv)/.requirements $(if $(node_on_path),,requirements/node.txt)
ifndef node_on_path
	@$(python) -m pip install --quiet --disable-pip-version-check --requirement requirements/node.txt || { \
	    echo "the tests need Node.js 20.19 or newer, with npm: sudo apt-get install nodejs npm, then run make again." >&2; exit 1; }
endif
	@touch $@

$(venv)/.foreign: tests/foreign/package-lock.json $(venv)/.node
	@cd tests/foreign && $(npm_ci)
	@touch $@

$(venv)/.js: clients/js/package-lock.json $(venv)/.node
	@cd clients/js && $(npm_ci)
	@touch $@

# --- targets -------------------------------------------------------------------------------------
run: $(venv)/.project
	@exec $(venv)/bin/openapi serve examples/monitor.py:create_app --host $(HOST) --port $(PORT)

check: $(venv)/.project $(venv)/.js
	$(python) -m ruff format --check $(sources)
	$(python) -m ruff check $(sources)
	$(python) -m mypy $(typed)
	cd clients/js && $(with_venv) npm run --silent check
	cd clients/js && $(with_venv) node_modules/.bin/tsc --project test/tsconfig.json

format: $(venv)/.project
	$(python) -m ruff check --fix-only $(sources)
	$(python) -m ruff format $(sources)

# more than eight gain little, and a container may count cores not its own
workers = --numprocesses=$(WORKERS) --maxprocesses=8 --dist=worksteal
pytest = $(with_venv) $(python) -m coverage run -m pytest $(workers)

test: .chromium check $(venv)/.foreign
	@rm -f .coverage .coverage.*
	$(pytest)
	@$(MAKE) --no-print-directory .coverage-thresholds test-js

test-full: .chromium check $(venv)/.foreign
	@rm -f .coverage .coverage.*
	OPENAPI_FULL=1 $(pytest) -m ""
	@$(MAKE) --no-print-directory .coverage-thresholds test-js

test-js: $(venv)/.js $(venv)/.project
	cd clients/js && CHROMIUM="$$(../../tools/chromium)" && export CHROMIUM && \
	    $(with_venv) node --test --test-concurrency=2 test/*.test.js test/*/*.test.js

# who has to install it is told before the other tests have run for minutes
.PHONY: .chromium
.chromium:
	@tools/chromium >/dev/null

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

# what valgrind counts comes first, for it takes less than a minute; if it fails, make fails last
bench: $(venv)/.project $(venv)/.node
ifdef BENCH
	@$(with_venv) $(python) -m bench $(BENCH)
else
	@$(with_venv) $(python) -m bench.instructions; counted=$$?; \
	$(with_venv) $(python) -m bench --report docs/benchmarks.md || exit; \
	[ $$counted = 0 ] || { \
	    echo "docs/benchmarks.md is written; but the instructions were not counted, or are too many, as is said at the head of all this: $(python) -m bench.instructions says it again." >&2; exit $$counted; }
endif

bench-quick: $(venv)/.project $(venv)/.node
	@$(with_venv) $(python) -m bench --quick $(BENCH)

test-all: $(venv)/.foreign $(venv)/.js
	@$(with_venv) $(python) tools/test_all.py $(workers)

clean:
	rm -rf $(venv) .venvs build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/foreign/node_modules bench/js/node_modules clients/js/node_modules clients/js/dist
	find src tests examples docs bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
