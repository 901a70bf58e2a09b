"""`vqa-ray watch`."""
