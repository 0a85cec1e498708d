"""Where text comes from: files, rows, datasets and the built-in corpus."""
