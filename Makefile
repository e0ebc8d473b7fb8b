# make run     the service on 127.0.0.1:8778: embedded database in var/, any token ("admin") accepted
# make test    the tests that need nothing but Python
# make lint    ruff, mypy, import-linter
# make bench   side by side with a real openstack-placement
# make bench-check  the workloads with a budget, on both databases; fails where one is missed
# make lock    the newest versions of all dependencies into requirements/

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8778
WORKERS ?= 2
PYTEST_ARGS ?=

BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint bench bench-check lock clean
.DELETE_ON_ERROR:

run: $(VENV)/.run
	mkdir -p var
	exec env OS_API__AUTH_STRATEGY=noauth2 \
	OS_PLACEMENT_DATABASE__CONNECTION=sqlite:///$(CURDIR)/var/moorage.db \
	OS_PLACEMENT_DATABASE__SYNC_ON_STARTUP=true \
	$(BIN)/moorage serve --host $(HOST) --port $(PORT) --workers $(WORKERS)

# One order of sets in every run, so that none fails where the one before it passed.
test: export PYTHONHASHSEED ?= 0
test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadgroup \
	    -m "not postgresql and not mariadb and not slow" $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(BENCH_ARGS)

bench-check: $(VENV)/.bench
	$(BIN)/python -m bench --check --database postgresql --database mariadb $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 comes without ensurepip; root can help itself, others are told what to do.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Moorage needs Python 3.11 or newer; give one with make PYTHON=..." >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -q </dev/null && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qy --no-install-recommends python3-venv ca-certificates </dev/null; \
	    else \
	        echo "$(PYTHON) cannot make virtual environments: install python3-venv (as root:" \
	             "apt-get install python3-venv) and run make again" >&2; exit 1; \
	    fi; \
	fi
	$(PYTHON) -m venv $(VENV)

# test.txt holds all that run.txt does, in the same versions, so one environment serves both.
$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-input -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-input --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --no-input -r requirements/test.txt
	touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.test
	$(BIN)/python -m pip install --quiet --no-input -r requirements/bench.txt
	touch $@

$(VENV)/.keystone: requirements/keystone.txt $(VENV)/.test
	$(BIN)/python -m pip install --quiet --no-input -r requirements/keystone.txt
	touch $@

$(VENV)/.nova: requirements/nova.txt $(VENV)/.test
	$(BIN)/python -m pip install --quiet --no-input -r requirements/nova.txt
	touch $@

# A fresh environment is filled four times: with what the service needs, with the rest, and with
# Keystone and Nova, of which only what they add is written down.
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade pip "setuptools>=77"
	build/lock/bin/python -m pip install --quiet .
	build/lock/bin/python -m pip freeze --all --exclude moorage --exclude pip --exclude wheel \
	    > requirements/run.txt
	build/lock/bin/python -m pip install --quiet --upgrade --upgrade-strategy only-if-needed ".[test,lint]"
	build/lock/bin/python -m pip freeze --all --exclude moorage --exclude pip --exclude wheel \
	    > requirements/test.txt
	build/lock/bin/python -m pip install --quiet --upgrade-strategy only-if-needed ".[test,lint,keystone]"
	build/lock/bin/python -m pip freeze --all --exclude moorage --exclude pip --exclude wheel \
	    | grep -vxFf requirements/test.txt > requirements/keystone.txt
	build/lock/bin/python -m pip install --quiet --upgrade-strategy only-if-needed ".[test,lint,keystone,nova-client]"
	build/lock/bin/python -m pip freeze --all --exclude moorage --exclude pip --exclude wheel \
	    | grep -vxFf requirements/test.txt > requirements/nova.txt
