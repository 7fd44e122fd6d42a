# `make demo` and `make test` are the whole set-up: each installs what it needs first.

PYTHON ?= python3.11
PYTEST_ARGS ?=
# A file stays in one process, so that the servers and sessions it shares are started once. In the order of their folders:
# the unit tests come last and are short, so that no process ends long before the other.
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .bench-venv/.installed
AIRFLOW_STAMP := .airflow-venv/.installed
# They build and install the rest; setuptools is the version that pyproject.toml builds with.
BOOTSTRAP := setuptools==84.2.1 uv==0.13.9
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help install demo pictures test test-airflow soak bench figures check lock servers clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

install: $(STAMP)  ## Create .venv from the lock files (again only when they change)

# uv in place of pip: 30 s against 49 s with nothing cached, most of it pyspark. No build isolation: it would fetch
# build tools that no hash pins. Compiled here, 5 s once: uv leaves that to the first run, and where PYTHONDONTWRITEBYTECODE
# is set or the folder is read-only every run would compile what it imports anew (an idle run took 1.4 s instead of 0.6).
# Pruned, 1 s: behind a mirror that lets nothing be cached uv keeps pyspark anew each time, 1.8 GB that nothing uses again.
$(STAMP): pyproject.toml requirements.lock requirements-bootstrap.lock
	@test -x $(BIN)/python || $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo 'Python 3.11 with venv is missing. Debian 12: apt-get install python3.11 python3.11-venv;' \
			'elsewhere let PYTHON name one: make install PYTHON=/path/to/python3.11' >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --no-build-isolation --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q ingestion_runtime
	-$(BIN)/uv cache prune --quiet
	@touch $@

demo: install  ## Ingest an embedded shop database twice and compare the result with its source
	$(BIN)/python -m ingestion_runtime.demo

pictures: install servers  ## Draw docs/images/*: the demo, the dashboard, the report (PICTURES="dashboard" for a part)
	$(BIN)/python -m tests.pictures $(PICTURES)

test: install servers  ## All tests, on real servers (PYTEST_ARGS="tests/unit -x" for a part)
	$(BIN)/python -m ingestion_runtime.tools.jars
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/airflow $(PYTEST_ARGS)

test-airflow: install $(AIRFLOW_STAMP)  ## DAG files in a real Airflow, in an environment of its own
	$(BIN)/pytest tests/airflow

soak: install servers  ## Longer: overlapping transactions, random tables through both engines (SEED=n for another one)
	INGESTION_SOAK_TRANSACTIONS=20000 INGESTION_SOAK_RUNS=400 INGESTION_SOAK_SEED=$(or $(SEED),4) ENGINES_EXAMPLES=20 \
		$(BIN)/pytest --timeout 7200 tests/integration/test_horizon_schedule.py tests/properties/test_engines.py

bench: install servers $(BENCH_STAMP)  ## Time whole runs beside Spark alone, dlt and floors (BENCH_ONLY=load BENCH_ROWS=300000 for a part)
	$(BIN)/python -m ingestion_runtime.tools.jars
	$(BIN)/python -m tests.bench

figures: install $(BENCH_STAMP)  ## Write the last complete bench into the docs: tables and charts
	$(BIN)/python -m tests.bench.page

# What ours is compared with has dependencies of its own, other than ours: an environment apart.
$(BENCH_STAMP): tests/bench/requirements.lock $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .bench-venv
	$(BIN)/uv pip install --quiet --python .bench-venv/bin/python --require-hashes --compile-bytecode -r tests/bench/requirements.lock
	@touch $@

# Airflow pins other versions of what both use: an environment apart.
$(AIRFLOW_STAMP): tests/airflow/requirements.lock | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .airflow-venv
	$(BIN)/uv pip install --quiet --python .airflow-venv/bin/python --require-hashes --compile-bytecode -r tests/airflow/requirements.lock
	@touch $@

servers:  ## Install what the tests need besides Python (root on Debian), or say what is missing
	@bash .ci/servers

check: install  ## Format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: install  ## Write the lock files anew after a change of pyproject.toml
	$(COMPILE) pyproject.toml --group dev -o requirements.lock
	printf '%s\n' $(BOOTSTRAP) | $(COMPILE) - -o requirements-bootstrap.lock
	$(COMPILE) tests/bench/requirements.in -o tests/bench/requirements.lock
	$(COMPILE) tests/airflow/requirements.in -o tests/airflow/requirements.lock

clean:  ## Remove the demo, the bench, build output and caches (not .venv)
	rm -rf .demo .bench .bench-venv .airflow-venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
