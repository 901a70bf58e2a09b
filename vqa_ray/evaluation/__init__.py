"""One metric per file, pure."""
