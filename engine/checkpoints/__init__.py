"""State on disk: checkpoints, their files, and weights from elsewhere."""
