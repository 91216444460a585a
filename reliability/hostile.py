"""Lines that no well-meant client sends: made at random from the protocol itself, and by hand."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st

from corral.protocol import lines
from corral.protocol import requests as p

HELLO = b'{"id":1,"op":"hello","version":"0","protocol":%d,"client":"library"}\n' % p.PROTOCOL
NEVER = ("Shutdown", "RestartDaemon")
"""Requests that end the daemon by what they are for."""

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            "@",
            "1",
            "0",
            "-1",
            "00",
            "../../x",
            "/etc/passwd",
            "a\0b",
            "\x1b[2J",
            "\u202ex",
            "9" * 30,
            "9" * 6000,
        ]
    ),
    st.sampled_from(["TERM", "KILL", "SIGNOSUCH", "0", "64", "9999999999"]),
    st.sampled_from(["x" * 1000, "\U0001f600" * 300, "\udc80\U0010fe80"[1:]]),
)
NUMBERS = st.one_of(
    st.integers(), st.sampled_from([-1, 0, 1, 2, 1 << 31, 1 << 32, 1 << 63, -(1 << 63), 1 << 64, 10**400])
)
FLOATS = st.one_of(
    NUMBERS, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1e308, -1e-320, 0.1, -0.0])
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
PROGRAMS = st.lists(
    st.sampled_from(["true", "false", "cat", "nosuchprogram", "", "a\0b", "../x", "x" * 300]), max_size=3
)
"""What hostile jobs run: nothing that does anything."""


SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: NUMBERS,
    float: FLOATS,
    bool: st.booleans(),
    type(None): st.none(),
}


@st.composite
def of_type(draw: st.DrawFn, kind: Any, wild: bool) -> Any:
    """JSON of this type, its values as bad as the type allows; if `wild` now and then of another type."""
    if wild and draw(st.integers(0, 7)) == 7:
        return draw(ANYTHING)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return draw(of_type(draw(st.sampled_from(arguments)), wild))
    if origin is typing.Literal:
        return draw(st.sampled_from(arguments))
    if origin is tuple and arguments[-1:] == (Ellipsis,):
        return [draw(of_type(arguments[0], wild)) for _ in range(draw(st.integers(0, 3)))]
    if origin is tuple:
        return [draw(of_type(one, wild)) for one in arguments]
    if origin is dict:
        return {
            str(draw(of_type(arguments[0], wild))): draw(of_type(arguments[1], wild))
            for _ in range(draw(st.integers(0, 3)))
        }
    if isinstance(kind, type) and issubclass(kind, tuple):  # of names, such as the input of a batch
        return [draw(of_type(one, wild)) for one in _hints(kind).values()]
    return draw(SIMPLE[kind] if kind in SIMPLE else struct(kind, wild))


@st.composite
def struct(draw: st.DrawFn, kind: type[msgspec.Struct], wild: bool) -> dict[str, Any]:
    """Its fields with its tag; some that may be left out are, and if `wild` also others."""
    config, hints = kind.__struct_config__, _hints(kind)
    made: dict[str, Any] = {} if config.tag is None else {str(config.tag_field): config.tag}
    for field in msgspec.structs.fields(kind):
        is_needed = field.required and not wild
        if is_needed or draw(st.integers(0, 3)):
            bad = PROGRAMS if field.name == "argv" else of_type(hints[field.name], wild)
            made[field.encode_name] = draw(bad)
    return made


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def requests(safe: typing.Callable[[dict[str, Any]], dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Any request but those that end the daemon; `safe` keeps it off what is not its own."""
    kinds = [kind for kind in p.REQUESTS if kind.__name__ not in NEVER]
    made = st.tuples(st.sampled_from(kinds), st.booleans()).flatmap(lambda both: struct(*both))
    return st.builds(
        lambda request, number: encoded(safe({"id": number, **request})), made, NUMBERS | ANYTHING
    )


def encoded(value: Any) -> bytes:
    """As JSON, with what JSON has no letters for left in as it is."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass").replace(b"\n", b" ")


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A request that was cut, had bytes turned, or a piece put in twice."""
    line = bytearray(draw(st.sampled_from(ORDINARY)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(line) - 1)))
        what = draw(st.sampled_from(("cut", "turn", "twice", "insert")))
        if what == "cut":
            del line[place:]
        elif what == "turn" and line:
            line[place] = draw(st.integers(0, 255))
        elif what == "twice":
            line[place:place] = line[place : place + 20]
        else:
            line[place:place] = draw(st.sampled_from(INSERTED))
    return bytes(line)


ORDINARY = [
    HELLO.strip(),
    b'{"id":2,"op":"list","ids":["1","@"],"all":true}',
    b'{"id":3,"op":"show","job":"nobody"}',
    b'{"id":4,"op":"wait","ids":["1"],"any":true,"timeout":0.01}',
    b'{"id":5,"op":"subscribe","ended":3}',
    b'{"id":6,"op":"look","ids":["1","2"]}',
    b'{"id":7,"op":"signal","ids":["none"],"signal":"TERM","pid":1}',
    b'{"id":8,"op":"start","specs":[],"surroundings":{"environment":{},"cwd":"/","umask":18}}',
]
INSERTED = [
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"id":9,',
    b"[" * 500,
    b"\\ud800",
    b"\n",
]


def by_hand() -> Iterator[tuple[str, bytes]]:
    """(what it is, bytes to send after hello): each ends in a line feed unless it is about that."""
    start = b'{"id":2,"op":"start","specs":[%s],"surroundings":{"environment":{%s},"cwd":"/","umask":18}}\n'
    whole = lines.REQUEST_LIMIT
    yield "deep lists", b"[" * (whole - 1) + b"\n"
    yield "deep objects", b'{"a":' * 200_000 + b"\n"
    yield "deep in a request", b'{"id":2,"op":"list","ids":' + b"[" * 500_000 + b"\n"
    yield "NaN", b'{"id":NaN,"op":"list"}\n'
    yield "infinity", b'{"id":2,"op":"wait","ids":["1"],"timeout":1e999}\n'
    yield "huge id", b'{"id":' + b"9" * 900_000 + b',"op":"list"}\n'
    yield "huge exponent", b'{"id":2,"op":"stop","ids":["x"],"grace":1e' + b"9" * 1000 + b"}\n"
    yield "same key twice", b'{"id":2,"id":3,"op":"list","op":"show","job":"1","job":"2"}\n'
    yield "a key 100,000 times", b"{" + b'"id":2,' * 100_000 + b'"op":"list"}\n'
    yield "invalid UTF-8", b'{"id":2,"op":"show","job":"\xff\xc3\x28\xed\xa0\x80"}\n'
    yield "lone surrogates", b'{"id":2,"op":"show","job":"\\ud800\\udfff\\ud800"}\n'
    yield "NULs", b"\0" * 10_000 + b"\n"
    yield "NUL in a name", b'{"id":2,"op":"show","job":"a\\u0000b"}\n'
    yield "a line of the limit", b" " * whole + b"\n"
    yield "one byte more", b" " * (whole + 1) + b"\n"
    yield "a request of the limit", _filled(b'{"id":2,"op":"show","job":"', b'"}', whole)
    yield "a request of one byte more", _filled(b'{"id":2,"op":"show","job":"', b'"}', whole + 1)
    yield "ten lines beyond the limit", (b"x" * (whole + 5) + b"\n") * 10
    yield "no line feed at all", b"x" * (5 * whole)
    yield "a hundred thousand line feeds", b"\n" * 100_000
    yield "a million small lines", b"{}\n" * 1_000_000
    yield "a hundred thousand requests", b'{"id":2,"op":"show","job":"x"}\n' * 100_000
    yield (
        "a hundred thousand names",
        b'{"id":2,"op":"list","ids":["' + b'","'.join(b"n%d" % n for n in range(100_000)) + b'"]}\n',
    )
    yield "one name 250,000 times", b'{"id":2,"op":"wait","ids":["' + b'","'.join([b"1"] * 250_000) + b'"]}\n'
    yield "hello again and again", HELLO * 20_000
    yield "a name of a megabyte", _filled(b'{"id":2,"op":"list","ids":["', b'"]}', whole)
    spec = b'{"pipeline":{"stages":[%s]},"command":"x"}'
    yield "255 stages and one", start % (spec % b",".join([b'{"argv":["true"]}'] * 256), b"")
    yield (
        "ten thousand redirections",
        start
        % (
            spec
            % (
                b'{"argv":["true"],"redirections":['
                + b",".join([b'{"fd":1,"mode":"merge"}'] * 10_000)
                + b"]}"
            ),
            b"",
        ),
    )
    yield "NUL in an argument", start % (spec % b'{"argv":["true","a\\u0000b"]}', b"")
    yield "NUL in the environment", start % (spec % b'{"argv":["true"]}', b'"A":"x\\u0000y"')
    yield "= in a variable's name", start % (spec % b'{"argv":["true"]}', b'"A=B":"x"')
    yield (
        "50,000 variables",
        start
        % (
            spec % b'{"argv":["nosuchprogram"]}',
            b",".join(b'"V%d":"x"' % n for n in range(50_000)),
        ),
    )


def _filled(head: bytes, tail: bytes, size: int) -> bytes:
    return head + b"x" * (size - len(head) - len(tail)) + tail + b"\n"
