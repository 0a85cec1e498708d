"""Measurements of one optimiser step: gradient norms, update sizes, speed, noise scale."""
