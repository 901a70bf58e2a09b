"""Batch callables that read and augment training rows."""
