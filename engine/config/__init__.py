"""The configuration tree, model shapes and recipes."""
