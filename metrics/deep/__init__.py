"""Per-layer probes: attention, activations, calibration."""
