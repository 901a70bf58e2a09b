"""Checkpoint directories: find, download, check and load their files."""
