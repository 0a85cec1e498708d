"""The run directory, its events and its control socket; free of torch."""
