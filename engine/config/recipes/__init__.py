"""The recipes that come with lmm-tui; `engine.config.recipe` reads them."""
