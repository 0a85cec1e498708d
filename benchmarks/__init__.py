"""Performance cases: each compares the product with a peer or a bare baseline in the same run."""
