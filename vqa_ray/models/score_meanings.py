"""The meaning of each family's scores, one line each, for Parquet metadata and documentation."""

from __future__ import annotations

SIGMOID = "sigmoid of the answer's logit; answers are scored independently, so scores do not sum to 1"
GENERATIVE = (
    "answer: exp(mean log-probability of its tokens, the closing one included); "
    "choices: softmax over the choices of the mean log-probability of their tokens, so they sum to 1"
)
COSINE = "cosine of the vectors of text and image, or of two images, between -1 and 1; not a probability"
MULTIPLE_VECTORS = (
    "largest cosine of the text's vector and one of the image's, or the mean of those of a query image's vectors; "
    "between -1 and 1; not a probability"
)
ENDPOINT = (
    "answer: exp(mean log-probability of the tokens that the server lists), null where it gives none; choices: the "
    "probabilities of the first token where it decides, made to sum to 1, else 1 for the choice that the model names "
    "and 0 for the others"
)
FAKE = "a deterministic function of the image's mean colour and the question, between 0 and 1"


def similarity_meaning(vectors: int) -> str:
    """Describe the score of a text and an image, or of two images."""
    return COSINE if vectors == 1 else MULTIPLE_VECTORS
