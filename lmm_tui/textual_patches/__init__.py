"""Replacements for private parts of Textual 8.2; the app runs without them, only slower."""
