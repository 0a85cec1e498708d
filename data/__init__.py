"""Text: corpus, tokenizer, token store, batches. Knows no other package and no torch."""

if __name__ == "data":  # Found by its short name, in a checkout.
    from lmm_tui.short_names import share

    share(__name__)
