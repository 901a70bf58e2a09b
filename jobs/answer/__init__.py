"""`vqa-ray answer`: ask questions of images."""
