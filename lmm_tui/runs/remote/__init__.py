"""A run on another machine: its files mirrored over ssh."""
