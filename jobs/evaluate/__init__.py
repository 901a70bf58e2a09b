"""`vqa-ray evaluate`: the predictions of a run beside the truth, by the protocol of a benchmark."""
