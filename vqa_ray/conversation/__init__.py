"""Conversations about images: what chat models are trained on."""
