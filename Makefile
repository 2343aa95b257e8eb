# Two commands are enough to begin with: `make demo` and `make test`. They need Python 3.11 or later, make, and a
# package index; everything else, PostgreSQL and dbmate included, is installed into .venv.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON  ?= python3
# Processes that run the tests; `auto` is one per core.
WORKERS ?= auto
# More options for pytest, the demo or the benchmarks: make test ARGS="-k timers"
ARGS    ?=

VENV := .venv
BIN  := $(VENV)/bin
# Made anew after every change of what is installed.
INSTALLED := $(VENV)/.installed
PACKAGES  := packages/duraflow-core packages/duraflow-pg packages/duraflow-cli
MIGRATIONS := sql/dbmate
TYPED := packages/duraflow-core/src packages/duraflow-pg/src packages/duraflow-cli/src devtools tests examples bench

# DATABASE_URL may stand in .env, as dbmate itself would read it.
ifndef DATABASE_URL
DATABASE_URL := $(shell test -f .env && sed -n 's/^DATABASE_URL=//p' .env | tail -n 1)
endif
export DATABASE_URL

.PHONY: help install demo test test-fast coverage check format bench migrate rollback new-migration build clean

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with the packages (editable) and all tools

$(INSTALLED): requirements/dev.txt constraints.txt $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements/dev.txt
	@# with the pinned hatchling of dev.txt, so that an install asks the index for nothing else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt $(PACKAGES:%=-e ./%)
	@touch $@

demo: $(INSTALLED) ## replay traffic fines on a real PostgreSQL (LOG=file.csv|.xes|.xes.gz, ARGS="--store memory")
	$(BIN)/python -m examples.traffic_fines $(if $(LOG),--log "$(LOG)") $(ARGS)

test: $(INSTALLED) ## every test, PostgreSQL included (ARGS="-k name")
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: $(INSTALLED) ## the tests that need no server
	$(BIN)/python -m pytest -m "not pg" $(ARGS)

coverage: $(INSTALLED) ## every test, with branch coverage in build/coverage/html
	@mkdir -p build/coverage
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term --cov-report=html $(ARGS)

check: $(INSTALLED) ## lint, format, types, and the code in README and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/python -m pytest tests/docs $(ARGS)

format: $(INSTALLED) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## measure, print a table, write build/bench.json
	$(BIN)/python -m bench $(ARGS)

migrate: $(INSTALLED) need-database-url ## apply the migrations to DATABASE_URL
	$(BIN)/dbmate --migrations-dir $(MIGRATIONS) --no-dump-schema up

rollback: $(INSTALLED) need-database-url ## take back the last migration of DATABASE_URL
	$(BIN)/dbmate --migrations-dir $(MIGRATIONS) --no-dump-schema rollback

new-migration: $(INSTALLED) ## make an empty migration (NAME=add_something)
	@test -n "$(NAME)" || { echo 'say what it does: make new-migration NAME=add_something' >&2; exit 2; }
	$(BIN)/dbmate --migrations-dir $(MIGRATIONS) new "$(NAME)"

build: $(INSTALLED) ## sdist and wheel of each package in build/dist
	rm -rf build/dist
	for package in $(PACKAGES); do $(BIN)/python -m build --no-isolation --outdir build/dist $$package || exit 1; done

clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) build htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: need-database-url
need-database-url:
	@test -n "$$DATABASE_URL" || { \
	  echo 'DATABASE_URL is not set. Say where the database is, here or in .env:' >&2; \
	  echo '  make $(MAKECMDGOALS) DATABASE_URL=postgresql://user:password@127.0.0.1:5432/name?sslmode=disable' >&2; \
	  exit 2; }
