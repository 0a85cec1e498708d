"""Several ranks that train one run."""
