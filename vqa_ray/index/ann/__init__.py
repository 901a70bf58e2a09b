"""The approximate nearest-neighbour index (Lance) of an embedding index."""
