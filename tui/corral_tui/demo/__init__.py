"""`corral demo`: real jobs of every kind in a home of their own, ended with proof."""
