"""A file system of a few files in memory that stops answering when told to: what sshfs is once its line is dead (fuse(4)).

    file_system.py FOLDER [frozen]

It is mounted on FOLDER and says `ready`; then each line on stdin tells it to `freeze` or to `thaw`. Frozen it takes
requests and answers none, until it is thawed. At the end of stdin it is unmounted, and whoever waits for it gets an
error: closing /dev/fuse, however this program ends, ends the file system.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
import sys

ROOT, LONG = 1, 1 << 16
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, CREATE, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 35, 36, 42
NEVER_ANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)
HEADER = struct.Struct("=IIQQIIII")
REFUSED = -errno.ENOSYS


class Node:
    def __init__(self, number: int, mode: int, content: bytes) -> None:
        self.number, self.mode, self.content = number, mode, content

    def attributes(self) -> bytes:
        size = len(self.content)
        return struct.pack(
            "=QQQQQQIIIIIIIIII", self.number, size, 1, 0, 0, 0, 0, 0, 0, self.mode, 1, 0, 0, 0, 4096, 0
        )


class FileSystem:
    """Answers each request by its number; a negative number is an error."""

    def __init__(self) -> None:
        folder = stat.S_IFDIR | 0o755
        self.names: dict[tuple[int, bytes], Node] = {}
        self.nodes = {ROOT: Node(ROOT, folder, b"")}
        with open("/bin/true", "rb") as file:
            program = file.read()
        files = {b"f": b"content\n", b"true": program, b"script": b"#!/bin/sh\necho ran\n"}
        self.add(ROOT, b"folder", folder, b"")
        for name, content in files.items():
            self.add(ROOT, name, stat.S_IFREG | 0o755, content)

    def add(self, parent: int, name: bytes, mode: int, content: bytes) -> Node:
        node = Node(len(self.nodes) + 1, mode, content)
        self.nodes[node.number] = self.names[parent, name] = node
        return node

    def entry(self, node: Node) -> bytes:
        return struct.pack("=QQQQII", node.number, 0, 0, 0, 0, 0) + node.attributes()

    def answer(self, code: int, number: int, body: bytes) -> bytes | int:
        node = self.nodes[number] if code != INIT else None
        if code == INIT:
            return struct.pack("=IIIIHHIIHHI7I", 7, 31, LONG, 0, 8, 8, LONG, 1, 16, 0, 0, *[0] * 7)
        assert node is not None
        if code == LOOKUP:
            found = self.names.get((number, body.rstrip(b"\0")))
            return -errno.ENOENT if found is None else self.entry(found)
        if code in (GETATTR, SETATTR):
            (valid,) = struct.unpack_from("=I", body) if code == SETATTR else (0,)
            if valid & 8:
                node.content = node.content[: struct.unpack_from("=Q", body, 16)[0]]
            return struct.pack("=QII", 0, 0, 0) + node.attributes()
        if code in (OPEN, OPENDIR):
            return struct.pack("=QII", 0, 0, 0)
        if code == CREATE:
            made = self.add(number, body[16:].rstrip(b"\0"), struct.unpack_from("=II", body)[1], b"")
            return self.entry(made) + struct.pack("=QII", 0, 0, 0)
        if code == READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            return node.content[offset : offset + size]
        if code == WRITE:
            _, offset, size = struct.unpack_from("=QQI", body)
            node.content = node.content[:offset].ljust(offset, b"\0") + body[40 : 40 + size]
            return struct.pack("=II", size, 0)
        if code == STATFS:
            return bytes(80)
        return b"" if code in (FLUSH, RELEASE, RELEASEDIR, READDIR) else REFUSED


def mount(folder: str, device: int) -> None:
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"dead", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(folder: str, *words: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    mount(folder, device)
    files, is_frozen, waiting = FileSystem(), False, []

    def reply(request: bytes) -> None:
        _, code, unique, number, *_ = HEADER.unpack_from(request)
        if code in NEVER_ANSWERED:
            return
        result = files.answer(code, number, request[HEADER.size :])
        error, body = (result, b"") if isinstance(result, int) else (0, result)
        try:
            os.write(device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)
        except FileNotFoundError:
            return  # whoever asked was interrupted

    try:
        reply(os.read(device, 2 * LONG))
        is_frozen = "frozen" in words
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([0, device], [], [])
            if device in ready:
                request = os.read(device, 2 * LONG)
                waiting.append(request) if is_frozen else reply(request)
            if 0 in ready:
                told = os.read(0, 4096).split()
                if not told:
                    return
                is_frozen = told[-1] == b"freeze"
                while waiting and not is_frozen:
                    reply(waiting.pop(0))
                print("done", flush=True)
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(folder), 2)
        os.close(device)


if __name__ == "__main__":
    main(*sys.argv[1:])
