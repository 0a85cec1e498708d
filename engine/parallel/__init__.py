"""Several ranks: processes that train one run together."""
