"""The training loop: its step, optimisers, schedule, observation, commands and run host."""
