"""Sweeps: many runs of one configuration, over a space of settings, by Optuna's samplers."""
