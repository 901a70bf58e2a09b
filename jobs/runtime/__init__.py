"""What every job that writes an output shares: admission, execution, commits, progress, summary."""
