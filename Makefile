# One command is the whole truth: `make check`.
BIN ?= .venv/bin/

.PHONY: check format lint types contracts test soak

check: format lint types contracts test

format:
	$(BIN)ruff format --check .

lint:
	$(BIN)ruff check .

types:
	$(BIN)mypy

contracts:
	$(BIN)lint-imports

test:
	$(BIN)pytest

# What people do to a running Corral, at random. make soak MINUTES=60
soak:
	$(BIN)python tests/faults/troubled.py --minutes $(or $(MINUTES),30)
