# One command is the whole truth: `make check`.
BIN ?= .venv/bin/

.PHONY: check format lint types contracts test

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
