"""Text: corpus, tokenizer, token store, batches. Knows no other package and no torch."""
