"""Which tokens a batch holds: packing, batches and the order of examples."""
