"""A training step without its numbers: how much memory it takes, how much it sends."""
