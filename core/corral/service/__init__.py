"""The door by which a daemon of any release starts the program of the one that is installed now."""
