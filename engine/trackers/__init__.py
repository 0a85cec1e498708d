"""Copies of runs for W&B, trackio and MLflow, each behind its own package."""
