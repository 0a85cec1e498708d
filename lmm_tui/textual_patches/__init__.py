"""Everything that relies on private parts of Textual; the rest of the product uses its public API.

`install` checks what the installed Textual looks like inside and replaces parts of it. Where a part
is not as expected, or `LMM_TUI_PLAIN_TEXTUAL` is set, Textual is left as it is: slower, not broken.
`terminal_driver` and `screen_strips` are used either way.
"""
