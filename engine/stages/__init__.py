"""Stages: each turns data into micro-batches, and a micro-batch into a loss."""
