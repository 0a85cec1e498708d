"""Runs as data for the screens: session, lists, health, summaries, remote runs, workers."""
