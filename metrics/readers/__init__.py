"""Readers of logs: our own, TensorBoard's, W&B's, CSV, JSON lines and console output."""
