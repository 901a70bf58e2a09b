"""`vqa-ray finetune`: from a request to a published model."""
