# The words of this project; `make help` lists them. CI runs the same.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up test check format bench lock clean

BIN := .venv/bin

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## install what is missing, start an authority and a media server, print how to use them
	@sh scripts/setup.sh run
	@exec $(BIN)/stagedoor up

test: ## install what the tests need, run them all
	@sh scripts/setup.sh test
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(ARGS)

check: ## lint, formatting, types, import rules
	@sh scripts/setup.sh check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: ## format the code
	@sh scripts/setup.sh check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: ## measure, and print figures and ratios
	@sh scripts/setup.sh bench
	$(BIN)/python -m bench $(ARGS)

lock: ## choose versions anew, within pyproject.toml
	@sh scripts/setup.sh check
	@sh scripts/lock.sh

clean: ## remove what was installed and built here (not the data in var)
	rm -rf .venv geo/node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
