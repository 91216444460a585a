"""The root: creates all parts of one home's process manager and connects them; recovery and handover."""
