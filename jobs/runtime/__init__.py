"""The runtime that jobs share: admission, execution, commits, progress, summary."""
