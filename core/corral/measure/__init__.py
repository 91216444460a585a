"""Measuring processes and the machine, and the history that is made of it."""
