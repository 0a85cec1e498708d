"""Conversations, preference pairs and prompts, and the templates that render them."""
