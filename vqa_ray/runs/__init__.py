"""What a run leaves on storage: its directory, its record, its manifest, its commits, its attempts."""
