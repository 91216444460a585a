"""The machine and this program: /proc, log, memory, errors of resources."""
