"""From text to a cached token store, with the entropies that a loss is compared with."""
