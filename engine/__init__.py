"""Training: configuration, devices, model, stages, the loop, checkpoints, the run directory."""
