"""Image and text preprocessing of checkpoints, without torch."""
