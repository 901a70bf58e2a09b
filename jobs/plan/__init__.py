"""`vqa-ray plan`."""
