"""JSON on stdout: one value, keys as the contract names them, nothing left out."""

from __future__ import annotations

import sys

import msgspec

from corral_tui.cli.plain import is_terminal, put_json


def print_json(value: object) -> None:
    """`value` as JSON on one line; indented where a person reads it."""
    encoded = msgspec.json.encode(value)
    if is_terminal(sys.stdout):
        encoded = msgspec.json.format(encoded, indent=2)
    put_json(encoded.decode())
