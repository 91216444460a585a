"""Requests, replies and pushes as lines, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Union, get_args

import msgspec
from msgspec import Struct

from corral.model.errors import ERRORS, BadLineError, CannotStartError, CorralError
from corral.model.wire import to_wire
from corral.protocol.pushes import Leaving, Push
from corral.protocol.requests import LISTS, REQUESTS, Reply_, Request, StartJobs

REQUEST_LIMIT = 16 << 20
"""Bytes in a line to the daemon, the newline included. A longer one is answered with an error and skipped.

Of the 2 MiB that a program is usually given at most (execve(2)) each byte may be six in JSON; of the 6 MiB that it can
be given with a larger stack, text is little more.
"""
REPLY_LIMIT = 64 << 20
"""Bytes in a line from the daemon. Long lists come in several."""


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """An error on its way to the client."""

    kind: str
    message: str
    status: int | None = None
    job: str | None = None

    @classmethod
    def of(cls, error: CorralError) -> ErrorBody:
        if isinstance(error, CannotStartError):
            return cls(error.kind, to_wire(str(error)), error.status, error.job)
        return cls(error.kind, to_wire(str(error)))

    def as_error(self) -> CorralError:
        if self.kind == CannotStartError.kind:
            return CannotStartError(self.message, self.status or 125, self.job)
        return ERRORS.get(self.kind, CorralError)(self.message)


class Envelope(Struct):
    """The part of a line that a client decodes first."""

    id: int | None = None
    ok: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None
    event: str | None = None
    part: msgspec.Raw = msgspec.Raw()
    """A piece of a list whose answer is still to come."""
    before: tuple[msgspec.Raw, ...] = ()
    """The pieces that came before this answer; `corral.protocol.long_lists` fills it in."""

    def answer(self) -> msgspec.Raw:
        """The reply, still encoded. Raises the error where that is the answer."""
        if self.error is not None:
            raise self.error.as_error()
        return self.ok


class RequestId(Struct):
    """The id of a request, read before the rest so that a bad request can be answered."""

    id: int


_encoder = msgspec.json.Encoder()
_request_ids = msgspec.json.Decoder(RequestId)

read_envelope = msgspec.json.Decoder(Envelope).decode
read_push: Callable[[bytes], Push] = msgspec.json.Decoder(Push).decode
read_leaving = msgspec.json.Decoder(Leaving).decode


def request_line(number: int, request: Request[Any]) -> bytes:
    """One request as a line. Raises CorralError where it is longer than a line may be, for a start CannotStartError."""
    body = _encoder.encode(request)
    line = b'{"id":%d,' % number + body[1:] + b"\n"
    if len(line) <= REQUEST_LIMIT:
        return line
    what = f"request of {len(line):,} bytes: at most {REQUEST_LIMIT:,} fit in one"
    if isinstance(request, StartJobs):
        raise CannotStartError(
            f"{what}, and the kernel takes at most 6,291,456 bytes of arguments and environment (execve(2)):"
            " give them by a file or stdin, or to several runs",
            126,
        )
    raise CorralError(f"{what}; send it in parts")


def reply_line(number: int, reply: Struct) -> bytes:
    """Raises CorralError where it is longer than a line may be."""
    line = b'{"id":%d,"ok":' % number + _encoder.encode(reply) + b"}\n"
    if len(line) > REPLY_LIMIT:
        raise CorralError(
            f"the answer has {len(line)} bytes, more than the {REPLY_LIMIT} that this client takes"
        )
    return line


def error_line(number: int | None, error: CorralError) -> bytes:
    head = b"null" if number is None else b"%d" % number
    return b'{"id":' + head + b',"error":' + _encoder.encode(ErrorBody.of(error)) + b"}\n"


def push_line(push: Push | Leaving) -> bytes:
    return _encoder.encode(push) + b"\n"


def read_request(line: bytes) -> tuple[int, Request[Any]]:
    """The id and the request of a line. Raises BadLineError, which carries `number` where the id could be read."""
    number: int | None = None
    try:
        number = _request_ids.decode(line).id
        return number, _request_decoder().decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = BadLineError(f"not a request: {error}")
        problem.number = number
        raise problem from None


@cache
def _request_decoder() -> msgspec.json.Decoder[Request[Any]]:
    """To make it takes a client longer than all else of this module."""
    return msgspec.json.Decoder(Union[REQUESTS])  # noqa: UP007


def read_reply(envelope: Envelope, request: Request[Reply_]) -> Reply_:
    """The typed reply to `request`. Raises the error where that is the answer."""
    reply: Reply_ = _reply_decoder(type(request)).decode(envelope.answer())
    return _joined(envelope.before, reply) if envelope.before else reply


@cache
def _reply_decoder(kind: type[Request[Any]]) -> msgspec.json.Decoder[Any]:
    (base,) = vars(kind)["__orig_bases__"]
    (reply,) = get_args(base)
    return msgspec.json.Decoder(reply)


def _joined(pieces: Sequence[msgspec.Raw], reply: Reply_) -> Reply_:
    """The reply with all of its list."""
    name, kind = LISTS[type(reply)]
    decoder = msgspec.json.Decoder(tuple[kind, ...])  # type: ignore[valid-type]
    items = [item for piece in pieces for item in decoder.decode(piece)]
    return msgspec.structs.replace(reply, **{name: (*items, *getattr(reply, name))})
