"""`vqa-ray compare`: evaluations with the same truth, or runs without truth."""
