"""Everything of Corral that a person at a terminal touches: the command line and the dashboard."""
