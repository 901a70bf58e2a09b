"""`vqa-ray instruct`."""
