"""`vqa-ray search`: search an index by text or image."""
