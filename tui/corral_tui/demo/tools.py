"""What this machine has of the programs that the demo runs, found out by trying them."""

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
"""OpenSSL 3 keeps Whirlpool in a provider of its own, and with one named it loads no default; 1.1 knows no providers."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The argvs to use; None where this machine cannot do it, and why not."""

    digest: tuple[str, ...] | None
    """SHA-256 of stdin as hexadecimal digits."""
    encrypt: tuple[str, ...] | None
    no_encrypt: str = ""
    whirlpool: tuple[str, ...] | None = None
    no_whirlpool: str = ""


def password_environment() -> dict[str, str]:
    """Our environment, and the password."""
    return {**os.environ, "password": PASSWORD}


def find_tools() -> Tools:
    """Look for them and try them. Takes some 30 ms."""
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
    """What a program makes of `data` when Python alone runs it; None where it fails. Blocks."""
    try:
        ended = subprocess.run(
            argv, input=data, capture_output=True, env=password_environment(), timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
