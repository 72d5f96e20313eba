# `make help` lists what there is. PYTHON=python3.12 chooses the interpreter of .venv,
# ARGS="..." goes on to passby, T="..." to pytest.

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench cover clean FORCE

ARGS ?=
T ?=
BIN := .venv/bin

# A moved checkout, a removed interpreter or another PYTHON= make .venv anew.
STALE := $(shell [ "$$(cat .venv/.made-in 2>/dev/null)" = "$$(pwd -P)" ] && $(BIN)/python -c '' \
	2>/dev/null || echo stale)
ifneq ($(PYTHON),)
ifneq ($(PYTHON),$(shell cat .venv/.made-with 2>/dev/null))
STALE := stale
endif
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed ## make .venv from constraints.txt, with passby and its tools in it

.venv/.installed: pyproject.toml constraints.txt scripts/install.sh $(if $(STALE),FORCE)
	@PYTHON='$(PYTHON)' sh scripts/install.sh

demo: .venv/.installed ## five nodes on this machine play a trade; ARGS="--exit" ends after it
	@$(BIN)/passby demo $(ARGS)

test: .venv/.installed ## run the tests; T="tests/ledger -k fork" runs some
	@$(BIN)/python -m pytest $(T)

check: .venv/.installed ## lint, format, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/.installed ## mend what the linter can mend by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

cover: .venv/.installed ## run the tests and show the lines they miss
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(T)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: .venv/.installed ## measure on this machine; ARGS="ledger --json"
	@$(BIN)/passby bench $(ARGS)

clean: ## remove .venv and whatever the tools left
	rm -rf .venv build dist htmlcov .coverage .coverage.* src/passby.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find protocol ledger geo node tests -name __pycache__ -type d -prune -exec rm -rf {} +

FORCE:
