"""Another client while a fault is injected: how long it has to wait for an answer."""

from __future__ import annotations

import math
import subprocess
import sys

from e2e.daemons import Daemons


class Prober:
    """Another client, a program of its own, which asks all the time; how long it waits at most."""

    CODE = (
        "import select, sys, time\nfrom corral.protocol import requests as p\nfrom corral.client.blocking import Client\n"
        "from corral.model.home import Home\nslowest = 0.0\n"
        "with Client.connect(Home(sys.argv[1]), start=False) as client:\n"
        "    print('ready', flush=True)\n"
        "    while not select.select([0], [], [], 0.02)[0]:\n"
        "        began = time.monotonic()\n"
        "        client.call(p.AskStatus(), timeout=60)\n"
        "        slowest = max(slowest, time.monotonic() - began)\n"
        "print(slowest)\n"
    )

    def __init__(self, daemons: Daemons) -> None:
        self._argv = [sys.executable, "-c", self.CODE, daemons.home.path]
        self.slowest = math.inf
        self.error = ""

    def __enter__(self) -> Prober:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        said, self.error = self._process.communicate()
        if said:
            self.slowest = float(said)
