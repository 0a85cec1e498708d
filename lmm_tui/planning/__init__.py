"""Before a run starts: estimated cost, data summary, step benchmark, settings files."""
