"""Training in plain torch: vocabulary, batches, loss, optimiser, loop."""
