"""One command a file; each module's `command` is found by `lmm_tui.cli.main` when it is called."""
