"""Finding images: an index of embeddings on storage, and search in it."""
