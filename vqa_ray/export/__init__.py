"""Rows of runs and indexes in the forms of other tools."""
