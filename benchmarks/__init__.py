"""Every performance claim, runnable: `python -m benchmarks` lists the cases."""
