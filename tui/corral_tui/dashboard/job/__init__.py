"""One job, opened: its pipeline, output, tree, charts, why and about."""
