"""Built-in stories and tasks, generated from a seed."""
