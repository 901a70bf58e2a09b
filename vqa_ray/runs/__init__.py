"""A run on storage: its directory, record, manifest, commits and attempts."""
