"""The sections of a model card that only a chat model has."""

from __future__ import annotations

import json
import shlex

from vqa_ray.report.markdown import fenced, text
from vqa_ray.report.training_summary import Trained, without_credentials

CHAT_SCORE_MEANING = (
    "A score is the exponential of the mean log-probability of an answer's tokens. It is not calibrated, and longer "
    "answers have lower ones; choose thresholds on labelled rows of your own."
)
CHAT_LIMIT = "- It writes its answers freely: an answer may be fluent and wrong."


def about_chat(trained: Trained) -> str:
    """Return the first paragraph of the card."""
    kind = "a low-rank adapter (LoRA) of" if trained.adapter else "a chat model,"
    name = trained.architecture or "a chat model"
    return (
        f"Answers questions about images in words of its own: {kind} {text(name)}. "
        f"Trained from {text(trained.start)} with vqa-ray, finished {text(trained.finished)}."
    )


def use_chat(trained: Trained) -> str:
    """Return how the model is used, in commands and in Python."""
    name = shlex.quote(trained.name)
    ask = f"vqa-ray answer --input photos/ --output answers/ --model {name} --question 'what is it?'"
    here = json.dumps(trained.name)
    base = json.dumps(trained.base_model or without_credentials(trained.start)) if trained.adapter else here
    load = (
        f"processor = AutoProcessor.from_pretrained({base})\n"
        f"model = AutoModelForImageTextToText.from_pretrained({base})"
    )
    imports = "from transformers import AutoModelForImageTextToText, AutoProcessor\n"
    if trained.adapter:
        imports = "from peft import PeftModel\n" + imports
        load += f"\nmodel = PeftModel.from_pretrained(model, {here})"
    python = (
        f"{imports}\n{load}\n\n"
        'content = [{"type": "image", "path": "photo.jpg"}, {"type": "text", "text": "what is it?"}]\n'
        "inputs = processor.apply_chat_template(\n"
        '    [{"role": "user", "content": content}],\n'
        '    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",\n'
        ")\n"
        "written = model.generate(**inputs, max_new_tokens=64)\n"
        'print(processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))'
    )
    program = "peft" if trained.adapter else "transformers"
    return f"Over many images, with vqa-ray:\n\n{fenced(ask, 'sh')}\n\nOr with {program}:\n\n{fenced(python, 'python')}"
