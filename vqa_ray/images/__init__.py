"""Encoded images: fetch, recognise, decode, resize."""
