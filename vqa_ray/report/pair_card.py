"""What the model card of a contrastive training says otherwise than that of answers."""

from __future__ import annotations

import json
import shlex

from vqa_ray.report.markdown import fenced, text
from vqa_ray.report.training_summary import Trained

PIPELINE = "zero-shot-image-classification"
TAGS = ("clip", "image-text-retrieval", "vqa-ray")
SCORE_MEANING = (
    "A score is the cosine of the vectors of a text and an image, between -1 and 1. It says which image fits a text "
    "better, and is no probability that it fits."
)
LIMIT = "- It was trained to tell the captions of its rows apart; what they never speak of it may not see."


def about(trained: Trained) -> str:
    """The first paragraph."""
    size = "" if trained.parameters is None else f", {trained.parameters:,} parameters"
    return (
        f"Finds images by text, and texts by image: CLIP, a dual encoder{size}. "
        f"Trained from {text(trained.start)} with vqa-ray, finished {text(trained.finished)}."
    )


def use(trained: Trained) -> str:
    """How it is used."""
    name = shlex.quote(trained.name)
    search = f"vqa-ray index --input photos/ --output index/ --model {name}\nvqa-ray search index/ --text 'a red mug'"
    here = json.dumps(trained.name)
    python = (
        "from PIL import Image\nfrom transformers import CLIPModel, CLIPProcessor\n\n"
        f"model = CLIPModel.from_pretrained({here}).eval()\n"
        f"processor = CLIPProcessor.from_pretrained({here})\n\n"
        'image = Image.open("photo.jpg").convert("RGB")\n'
        "longest = model.config.text_config.max_position_embeddings\n"
        'texts = ["a red mug", "a blue hat"]\n'
        'inputs = processor(image, texts, return_tensors="pt", padding=True, truncation=True, max_length=longest)\n'
        "print(model(**inputs).logits_per_image.softmax(dim=-1))"
    )
    return f"To search images:\n\n{fenced(search, 'sh')}\n\nOr with transformers:\n\n{fenced(python, 'python')}"
