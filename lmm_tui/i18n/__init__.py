"""The language of the interface: catalogues, translated messages, numbers."""
