"""Which of the demo's programs this machine has, found by trying them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

PASSWORD = "the password is in the environment of the child only"  # noqa: S105 - it guards ten random bytes
NO_OPENSSL = "no openssl on this machine"
NO_WHIRLPOOL = "this openssl has no Whirlpool"
NO_DES3 = "this openssl cannot encrypt with des3 and pbkdf2"

ENCRYPT = ("openssl", "enc", "-des3", "-pbkdf2", "-pass", "env:password")
_LEGACY = ("-provider", "legacy", "-provider", "default")
"""OpenSSL 3 has Whirlpool in a separate provider, and must then be told to load the default one; 1.1 has no providers."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The argvs to use; None if this machine lacks the program, with the reason."""

    digest: tuple[str, ...] | None
    """SHA-256 of stdin as hexadecimal digits."""
    encrypt: tuple[str, ...] | None
    no_encrypt: str = ""
    whirlpool: tuple[str, ...] | None = None
    no_whirlpool: str = ""


def password_environment() -> dict[str, str]:
    """Our environment with the password added."""
    return {**os.environ, "password": PASSWORD}


def find_tools() -> Tools:
    """Find and try the programs. Takes about 30 ms."""
    digest = _first_that_works([("sha256sum",), ("shasum", "-a", "256")])
    if shutil.which("openssl") is None:
        return Tools(digest, None, NO_OPENSSL, None, NO_OPENSSL)
    encrypt = _first_that_works([ENCRYPT])
    hashing = ("openssl", "dgst", "-whirlpool", "-binary")
    whirlpool = _first_that_works([hashing, (*hashing[:2], *_LEGACY, *hashing[2:])])
    return Tools(digest, encrypt, NO_DES3, whirlpool, NO_WHIRLPOOL)


def _first_that_works(candidates: list[tuple[str, ...]]) -> tuple[str, ...] | None:
    return next((each for each in candidates if output_of(each, b"") is not None), None)


def output_of(argv: tuple[str, ...], data: bytes) -> bytes | None:
    """The output of a program for `data`, run by Python alone; None if it fails. Blocks."""
    try:
        ended = subprocess.run(
            argv, input=data, capture_output=True, env=password_environment(), timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
