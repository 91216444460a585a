"""The file systems that may never answer: a dead server's, or those of a program that hangs (NFS, sshfs, anything by FUSE).

A process that touches one waits with it, unkillable at worst (state D). So which they are is read from the kernel's table
(proc_pid_mountinfo(5)), never asked of themselves.
"""

from __future__ import annotations

import os
import re
import select

_TABLE = "/proc/self/mountinfo"
_LOCAL = frozenset(
    # On a disk of this machine, or in its memory; then the kernel's own.
    """
    adfs affs bcachefs befs btrfs cramfs ecryptfs erofs exfat ext2 ext3 ext4 f2fs hfs hfsplus hpfs iso9660 jffs2 jfs minix
    msdos nilfs2 ntfs ntfs3 overlay ramfs reiserfs rootfs romfs squashfs tmpfs ubifs udf ufs vfat xfs zfs
    binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue nsfs
    proc pstore resctrl securityfs selinuxfs smackfs sysfs tracefs
    """.split()  # noqa: SIM905  (a hundred quotes say no more)
)
"""All others count as those that may hang, unknown ones included."""
_NEVER_USED = ("/proc/sys/fs/binfmt_misc",)
"""systemd has an automount there on every machine; it would make us look at each path twice for nothing."""
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class HangingMounts:
    """Where such file systems are mounted, as of now.

    Args:
        home: what lies on the same one as this directory, or as the root, is not counted: were those to hang, so would we.
    """

    def __init__(self, home: str) -> None:
        self._home = os.path.realpath(home)
        self._poller = select.poll() if hasattr(select, "poll") else None
        self._points: frozenset[str] = frozenset()
        try:
            self._table = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # No Linux, or no /proc: nothing is known, and starts are as everywhere else.
            self._poller = None
            return
        if self._poller is not None:
            # It polls so once after each change (proc_pid_mountinfo(5)).
            self._poller.register(self._table, select.POLLERR | select.POLLPRI)
        self._read()

    @property
    def may_hang(self) -> frozenset[str]:
        """Their mount points. 1 µs, while nothing is mounted or unmounted."""
        if self._poller is not None and self._poller.poll(0):
            self._read()
        return self._points

    def close(self) -> None:
        if self._poller is not None:
            os.close(self._table)
            self._poller = None

    def _read(self) -> None:
        os.lseek(self._table, 0, os.SEEK_SET)
        content = b""
        while piece := os.read(self._table, 1 << 16):
            content += piece
        self._points = parse(content, self._home)


def parse(table: bytes, home: str = "/") -> frozenset[str]:
    """The mount points of a table that may hang. A later line covers what an earlier one has mounted at the same place."""
    kinds: dict[str, str] = {}
    for line in table.splitlines():
        fields, _, rest = line.partition(b" - ")
        point = _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), fields.split()[4])
        kinds[os.fsdecode(point)] = os.fsdecode(rest.split(b" ", 1)[0])
    hanging = {point for point, kind in kinds.items() if kind not in _LOCAL and point not in _NEVER_USED}
    return frozenset(hanging - {"/", _mount_of(home, kinds)})


def _mount_of(path: str, kinds: dict[str, str]) -> str:
    """The mount point that a path without symlinks lies on."""
    while path not in kinds and path != "/":
        path = os.path.dirname(path)
    return path
