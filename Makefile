# Two commands for a fresh machine: `make serve` and `make test`. Needs python3 >= 3.11 and the package registry.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
LOCK := UV_NO_CONFIG=1 $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --upgrade

SGLANG_TOOL := $(patsubst %/install,%,$(wildcard $(or $(REJOINDER_TEST_SGLANG_TOOL),../shared/tools/sglang_cpu)/install))

.PHONY: serve test test-sglang setup lint format bench lock clean

serve: $(VENV)/.runtime
	@$(BIN)/rejoinder serve $(ARGS)

test: $(VENV)/.test
	@$(BIN)/rejoinder models fetch
	$(BIN)/python -m pytest $(ARGS)

ifeq ($(SGLANG_TOOL)$(REJOINDER_TEST_SGLANG_URL),)
test-sglang:
	@echo "skipped: no SGLang. Set REJOINDER_TEST_SGLANG_URL to a server's http://HOST:PORT, or" \
		"REJOINDER_TEST_SGLANG_TOOL to a folder of scripts that install one (see tests/sglang/conftest.py)"
else
test-sglang: $(VENV)/.test
	@$(BIN)/rejoinder models fetch
	REJOINDER_TEST_SGLANG_TOOL=$(SGLANG_TOOL) $(BIN)/python -m pytest tests/sglang -v -o timeout_func_only=true $(ARGS)
endif

setup: $(VENV)/.test
	@$(BIN)/rejoinder models fetch

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	$(BIN)/python -m loadtest.bench $(ARGS)

# The lock files name versions and hashes only; which registry serves them is the user's pip configuration.
lock: $(VENV)/.test
	$(LOCK) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(LOCK) pyproject.toml --extra test --extra eval --extra dev -o requirements/test.txt
	$(LOCK) pyproject.toml -c requirements/test.txt -o requirements/runtime.txt
	$(LOCK) requirements/cuda.in -o requirements/cuda.txt

clean:
	rm -rf $(VENV) .sglang build dist

$(VENV)/.made: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is not: run make PYTHON=python3.12 (or newer)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "$(PYTHON) cannot make virtual environments: install python3-venv" >&2; exit 2; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements/runtime.txt pyproject.toml
	@echo "installing the packages of requirements/runtime.txt"
	@$(INSTALL) --require-hashes -r requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.runtime requirements/test.txt
	@echo "installing the packages of requirements/test.txt"
	@$(INSTALL) --require-hashes -r requirements/test.txt
	@touch $@
