"""Runs for programs that think: bounded answers to questions, and commands with a name on them."""
