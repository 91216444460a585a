"""What a process waits for, and who can end that wait."""
