"""Observation of training from outside: tracker, probes, health, series, readers and plots."""

if __name__ == "metrics":  # Found by its short name, in a checkout.
    from lmm_tui.short_names import share

    share(__name__)
