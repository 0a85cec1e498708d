"""Evaluation by lm-eval: `process` starts a worker process, `worker` runs in it."""
