"""`vqa-ray tag --rethreshold`: decide the tags of a finished run anew from its scores."""
