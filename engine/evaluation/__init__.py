"""Evaluation by lm-eval in a process of its own: `process` is the door, `child` behind it."""
