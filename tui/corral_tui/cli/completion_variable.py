"""By which variable the completion script of a shell asks `corral` to complete. A module that loads nothing."""

COMPLETION_VARIABLE = "_CORRAL_COMPLETE"
