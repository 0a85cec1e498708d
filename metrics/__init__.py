"""Observation from outside: tracker, probes, series, followers, PNGs. Knows no other package."""

if __name__ == "metrics":  # Found by its short name, in a checkout.
    from lmm_tui.short_names import share

    share(__name__)
