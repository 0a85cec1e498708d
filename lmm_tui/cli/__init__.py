"""The command line: one command a file, option parsing, launching, progress without a screen."""
