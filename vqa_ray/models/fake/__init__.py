"""Deterministic models without weights, for tests and for trying out a pipeline."""
