"""The decoder, its adapters and its chunked loss."""
