"""The tokenizer and the store of token ids."""
