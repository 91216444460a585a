"""Looking into processes: open files, sockets, locks, memory, system calls, stacks."""
