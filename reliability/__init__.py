"""Programs that do to Corral, again and again, what must not harm it. They run for minutes to hours, so no test does it.

python -m reliability                     each of them once, in its short form: about half an hour
python -m reliability NAME [OPTIONS]      one of them; NAME --help has its options
"""

import os
import sys


def itself(name: str, *words: str) -> list[str]:
    """The argv of another process that runs `name`."""
    return [sys.executable, os.path.dirname(os.path.abspath(__file__)), name, *words]
