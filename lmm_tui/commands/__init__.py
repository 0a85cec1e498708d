"""One command a file; each module's `command` is found by `lmm_tui.cli` when it is called."""
