"""The verb that starts one job for each input."""
