"""Entry points: one command per module."""
