# `make demo` and `make test` do all set-up by themselves, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
SIGSTORE ?= $(VENV)/sigstore

.PHONY: help demo rules test test-all lint fmt type imports check bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	@touch $@

demo: $(STAMP) ## Build examples/hello and run it
	@echo '$$ dpbuild build examples/hello'
	@$(BIN)/dpbuild build examples/hello
	@echo '$$ dpbuild run oci:examples/hello/.dpbuild/image -- you'
	@$(BIN)/dpbuild run oci:examples/hello/.dpbuild/image -- you

test: $(STAMP) ## Lint, types, imports and tests
	$(BIN)/ruff check builder tests benchmarks examples
	$(BIN)/ruff format --check builder tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 -m 'not slow' $(ARGS)

test-all: $(STAMP) ## The tests and the long matrices
	@# Where Sigstore's programs cannot be made, the tests that want them are skipped, and say so.
	tests/servers/sigstore/make $(abspath $(SIGSTORE)) || true
	DPBUILD_TEST_SIGSTORE=$(abspath $(SIGSTORE)) $(BIN)/pytest -n 2 $(ARGS)

fmt: $(STAMP) ## Format
	$(BIN)/ruff check --fix builder tests benchmarks examples
	$(BIN)/ruff format builder tests benchmarks examples

rules: $(STAMP) ## Write docs/rules.md from the rules of check
	$(BIN)/python -c 'from dpbuild.stages.proof.handbook import handbook; print(handbook(), end="")' > docs/rules.md

bench: $(STAMP) ## Measure beside a Dockerfile (needs Docker and docker-registry; ARGS="--minutes 28", --quick)
	@# As users have it: installed from a wheel, with bytecode. A checkout's import hook alone takes a tenth of a short run.
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/installed
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(VENV)/installed/bin/python .
	$(VENV)/installed/bin/python benchmarks/compare.py --write $(ARGS)

clean: ## Remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info examples/*/.dpbuild
