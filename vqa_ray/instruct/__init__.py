"""Instruction data: what a teacher is asked about images, and how its replies become conversations."""
