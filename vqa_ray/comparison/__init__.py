"""Comparisons: of evaluations on the same rows of truth, and of runs without truth."""
