"""Health rules over the rows of a run."""
