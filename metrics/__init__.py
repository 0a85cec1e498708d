"""Observation from outside: tracker, probes, series, followers, PNGs. Knows no other package."""
