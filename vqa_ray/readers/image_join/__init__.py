"""Rows whose images lie elsewhere: in a table, a folder or an index, found by a key."""
