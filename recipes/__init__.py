"""The recipes that come with lmm-tui; `engine.recipe` reads them."""
