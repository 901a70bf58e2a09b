"""Contrastive training of dual encoders on image-caption pairs."""
