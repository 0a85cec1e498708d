"""The terminal: its capabilities, output capture, glyph fallbacks, safe text."""
