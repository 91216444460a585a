"""The program of the daemon, at a path that never changes:

    python -P -m corral.service.launch HOME REPORT_FD [private SOCKET_FD PARALLEL | resume LOCK_FD LISTENER_FD GENERATION]

`corral daemon restart` lets a running daemon execute the program of another release, an earlier or a later one, by this
name and with these arguments. So neither may change, wherever the code of the daemon itself goes.
"""

import sys

from corral.daemon.process_setup import become_background, ensure_utf8

if __name__ == "__main__":
    ensure_utf8()
    path, report, *how = sys.argv[1:]
    if how[:1] != ["resume"]:
        become_background(path, {int(report), *map(int, how[1:2])})
    # Imported once detached: it takes 0.2 s, in which a Ctrl-C at the client's terminal must not end the daemon.
    from corral.daemon.main import main

    sys.exit(main(path, int(report), how))
