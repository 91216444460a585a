"""The daemon in the foreground, which names survivors after 0.2 s: `python impatient.py HOME`."""

import sys

from corral.daemon.main import run_foreground
from corral.model.home import Home
from corral.processes import stop_sequence

stop_sequence.PATIENCE_AFTER_KILL = 0.2
sys.exit(run_foreground(Home(sys.argv[1])))
