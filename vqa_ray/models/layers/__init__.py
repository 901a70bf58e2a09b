"""Layers and batching that several model families share."""
