"""A person's verdicts on the answers of a run: which are asked for, the page that asks, and the file they go to."""
