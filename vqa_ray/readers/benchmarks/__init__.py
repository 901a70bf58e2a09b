"""Published benchmarks: the layouts of their files, read as questions with their truth."""
