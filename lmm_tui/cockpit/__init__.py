"""The Textual app: its screens, widgets, key table, themes and preferences."""
