"""Training rows: labels, vocabulary, targets, schedule, batches."""
