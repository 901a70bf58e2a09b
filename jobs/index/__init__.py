"""`vqa-ray index`: build an index of embeddings and keep it up to date."""
