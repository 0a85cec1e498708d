"""Chat with a model in memory or with a checkpoint."""
