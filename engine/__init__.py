"""Training: configuration, devices, model, stages, the loop, checkpoints, the run directory."""

if __name__ == "engine":  # Found by its short name, in a checkout.
    from lmm_tui.short_names import share

    share(__name__)
