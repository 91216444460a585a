"""`corral attach` as a subprocess of the dashboard, on the same terminal."""

from __future__ import annotations

import signal
import sys

from corral.platform.process.prctl import end_with_parent
from corral_tui.main import main

if __name__ == "__main__":
    # If the dashboard is killed we restore the terminal for the program that waits for the dashboard. By then we are no
    # longer in the foreground, where setting the terminal would stop us (tcsetattr(3), SIGTTOU).
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    end_with_parent(signal.SIGTERM)
    sys.exit(main())
