"""Token loops: sampling, batched rollouts, exact-match questions."""
