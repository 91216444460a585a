"""The daemon in the foreground, which names survivors after 0.2 s: `python impatient.py HOME`."""

import sys

from corral.manage import stopping
from corral.service.main import run_foreground
from corral.values.home import Home

stopping.PATIENCE_AFTER_KILL = 0.2
sys.exit(run_foreground(Home(sys.argv[1])))
