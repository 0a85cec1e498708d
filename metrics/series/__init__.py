"""Series in memory: growing arrays with a min/max pyramid."""
