# One command is the whole truth: `make check`.
BIN ?= .venv/bin/

.PHONY: check format lint types contracts test reliability soak

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

# Each program of `reliability/` once, in its short form: half an hour.
reliability:
	$(BIN)python -m reliability

# What people do to a running Corral, at random. make soak MINUTES=60
soak:
	$(BIN)python -m reliability troubled --minutes $(or $(MINUTES),30)
