"""Callables for Ray Data map_batches: heavy things in __init__, one batch per call."""
