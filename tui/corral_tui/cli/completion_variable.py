"""The environment variable by which a shell's completion script calls `corral`. Imports nothing."""

COMPLETION_VARIABLE = "_CORRAL_COMPLETE"
