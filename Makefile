# `make demo` and `make test` need python3 and pip and do the rest themselves. ARGS reaches the command:
# make test ARGS="-k hops -x"

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
export PYTHON

.PHONY: help demo test test-rest test-all fuzz fuzz-guided lint types format check bench soak matrix stack snapshots wheel clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' Makefile | expand -t 18

demo: .venv/stamp ## the whole story on this machine, in seconds
	@$(BIN)/sse-tap demo $(ARGS)

test: .venv/stamp ## the tests, but for those of many real proxies and clients
	@$(PYTEST) -m "not slow" $(ARGS)

test-rest: .venv/stamp ## those that `make test` leaves out
	@$(PYTEST) -m slow $(ARGS)

test-all: .venv/stamp ## every test
	@$(PYTEST) $(ARGS)

fuzz: .venv/stamp ## hostile input, new each time: make fuzz EXAMPLES=100000
	@SSE_TAP_FUZZ=$(or $(EXAMPLES),5000) $(PYTEST) --timeout=0 tests/fuzz $(ARGS)

fuzz-guided: .venv/stamp ## the same, led by coverage (atheris): make fuzz-guided SECONDS=60
	@$(BIN)/python -m pip install -qq "atheris>=3,<4"
	@$(BIN)/python -m tests.fuzz.guided --seconds $(or $(SECONDS),60) $(ARGS)

lint: .venv/stamp ## ruff: lint and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: .venv/stamp ## mypy, strict
	@$(BIN)/mypy

check: lint types test ## lint, types and tests

format: .venv/stamp ## put the source into ruff's format
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

ifneq ($(wildcard benchmarks/tap.py),)
bench: .venv/stamp ## what the tap costs, measured
	@$(BIN)/python benchmarks/tap.py $(ARGS)
endif

ifneq ($(wildcard benchmarks/soak.py),)
soak: .venv/stamp ## a minute (or ARGS="--seconds N") of all that clients and servers do to a tap
	@$(BIN)/python benchmarks/soak.py $(ARGS)
endif

ifneq ($(wildcard benchmarks/matrix.py),)
matrix: .venv/stamp ## what proxies do to a stream, measured
	@$(BIN)/python benchmarks/matrix.py $(ARGS)
endif

ifneq ($(wildcard tests/stack/reference/table.py),)
stack: .venv/stamp ## a whole streaming chat with each fault in turn: what sse-tap says (ARGS="--fault NAME --runs N --serve")
	@$(BIN)/python -m tests.stack.reference.table $(ARGS)
endif

snapshots: .venv/stamp ## draw the tests' pictures anew (then look at the difference)
	@$(BIN)/python -m tests.snapshots

wheel: .venv/stamp ## build dist/*.whl
	@rm -rf dist && $(BIN)/python -m pip wheel -qq --no-deps -w dist . && ls dist/*.whl

clean: ## remove what the others made
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/stamp: pyproject.toml hatch_build.py .ci/setup
	@.ci/setup
