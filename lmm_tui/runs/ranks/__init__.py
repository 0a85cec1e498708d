"""Start, watch and restart the ranks of a run, and show what they do."""
