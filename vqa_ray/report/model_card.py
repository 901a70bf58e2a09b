"""The model card of a training: a README.md that a hub shows, with front matter that it understands."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from huggingface_hub.repocard_data import EvalResult, eval_results_to_model_index

from vqa_ray.counted import counted
from vqa_ray.durations import duration
from vqa_ray.errors import one_line
from vqa_ray.report.chat_card import CHAT_LIMIT, CHAT_SCORE_MEANING, about_chat, use_chat
from vqa_ray.report.licences import licence_fields
from vqa_ray.report.markdown import fenced, text
from vqa_ray.report.training_page import natural
from vqa_ray.report.training_summary import Trained, without_credentials
from vqa_ray.storage.atomic import write_bytes_atomic
from vqa_ray.storage.uri import redacted_uri
from vqa_ray.training.config import CHAT, CONTRASTIVE, VQA, Task

SCORE_MEANING = (
    "A score is the sigmoid of the answer's logit: each answer is scored on its own between 0 and 1, so that the "
    "scores of a question do not sum to 1. It is not calibrated; choose thresholds on labelled rows of your own."
)
NO_LICENCE = "- No licence was stated for these weights."
_PAIR_SCORE_MEANING = (
    "A score is the cosine of the vectors of a text and an image, between -1 and 1. It says which image fits a text "
    "better, and is no probability that it fits."
)
_PAIR_LIMIT = "- It was trained to tell the captions of its rows apart; what they never speak of it may not see."
_PIPELINES: Mapping[Task, str] = {
    VQA: "visual-question-answering",
    CONTRASTIVE: "zero-shot-image-classification",
    CHAT: "image-text-to-text",
}
_TAGS: Mapping[Task, tuple[str, ...]] = {
    VQA: ("vilt", "vqa"),
    CONTRASTIVE: ("clip", "image-text-retrieval"),
    CHAT: ("chat", "vqa"),
}
_METRICS: Mapping[Task, str] = {VQA: "accuracy", CONTRASTIVE: "recall", CHAT: "accuracy"}


def render_card(trained: Trained) -> str:
    """Render the card as Markdown. What comes from data and settings is escaped, whatever it holds."""
    about, use, meaning = {
        VQA: (_about, _use, SCORE_MEANING),
        CONTRASTIVE: (_about_pairs, _use_pairs, _PAIR_SCORE_MEANING),
        CHAT: (about_chat, use_chat, CHAT_SCORE_MEANING),
    }[trained.task]
    sections = [
        _front_matter(trained),
        f"# {text(trained.name)}",
        about(trained),
        "## Use",
        use(trained),
        meaning,
        "## Data",
        _data(trained),
        "## Results",
        _results(trained),
        "## Recipe",
        _pairs("setting", "value", trained.recipe),
        "The command:",
        fenced(trained.command_line, "sh"),
        "Versions: " + ", ".join(f"{text(name)} {text(version)}" for name, version in trained.versions.items()) + ".",
        "## Limits",
        _limits(trained),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def write_card(uri: str, trained: Trained) -> None:
    """Write `render_card` into one file at `uri`, at once or not at all."""
    # Settings may hold lone surrogates, which UTF-8 cannot write.
    write_bytes_atomic(uri, render_card(trained).encode("utf-8", "replace"))


def _front_matter(trained: Trained) -> str:
    base, metric = trained.base_model, _METRICS[trained.task]
    content: dict[str, Any] = {
        **licence_fields(trained.license),
        "library_name": "peft" if trained.adapter else "transformers",
        "pipeline_tag": _PIPELINES[trained.task],
        "base_model": base,
        "base_model_relation": ("adapter" if trained.adapter else "finetune") if base else None,
        "tags": list(dict.fromkeys([*_TAGS[trained.task], "vqa-ray", *map(one_line, trained.tags)])),
        "metrics": [metric] if trained.exported_validation else None,
        "model-index": _model_index(trained, metric) if trained.exported_validation else None,
    }
    return front_matter_text({name: value for name, value in content.items() if value is not None})


def _model_index(trained: Trained, metric: str) -> Any:
    """Return the results as the hub lists them beside those of other models."""
    assert trained.exported_validation is not None
    result = EvalResult(
        task_type=_PIPELINES[trained.task],
        dataset_type="custom",
        dataset_name=one_line(without_credentials(trained.data.validation or "validation rows"), 200),
        metric_type=metric,
        metric_value=round(trained.exported_validation.accuracy, 4),
        metric_name=trained.words.about,
    )
    return eval_results_to_model_index(one_line(trained.name, 200), [result])


def front_matter_text(metadata: Mapping[str, Any]) -> str:
    """Render metadata as the first lines of a card."""
    # On one line each: a line of its own could end the front matter.
    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=math.inf).strip()}\n---"


def _about(trained: Trained) -> str:
    size = "" if trained.parameters is None else f", {trained.parameters:,} parameters"
    kind = "adapters (LoRA) of ViLT" if trained.adapter else "ViLT"
    return (
        f"Answers questions about images: {kind} with a vocabulary of {trained.data.answers:,} answers{size}. "
        f"Trained from {text(trained.start)} with vqa-ray, finished {text(trained.finished)}."
    )


def _use(trained: Trained) -> str:
    ask = (
        f"vqa-ray answer --input photos/ --output answers/ --model {shlex.quote(trained.name)} --question 'what is it?'"
    )
    here = json.dumps(trained.name)
    if trained.adapter:
        base = json.dumps(trained.base_model or without_credentials(trained.start))
        load = (
            "from peft import PeftModel\n"
            "from transformers import AutoConfig, ViltForQuestionAnswering, ViltProcessor\n\n"
            f"config = AutoConfig.from_pretrained({here})\n"
            f"base = ViltForQuestionAnswering.from_pretrained({base}, config=config, ignore_mismatched_sizes=True)\n"
            f"model = PeftModel.from_pretrained(base, {here}).eval()"
        )
    else:
        load = (
            "from transformers import ViltForQuestionAnswering, ViltProcessor\n\n"
            f"model = ViltForQuestionAnswering.from_pretrained({here}).eval()"
        )
    python = (
        f"from PIL import Image\n{load}\nprocessor = ViltProcessor.from_pretrained({here})\n\n"
        'image = Image.open("photo.jpg").convert("RGB")\n'
        "longest = model.config.max_position_embeddings\n"
        'inputs = processor(image, "what is it?", return_tensors="pt", truncation=True, max_length=longest)\n'
        "scores = model(**inputs).logits.detach().sigmoid()[0]\n"
        "best = int(scores.argmax())\n"
        "print(model.config.id2label[best], float(scores[best]))"
    )
    program = "peft" if trained.adapter else "transformers"
    return f"Over many images, with vqa-ray:\n\n{fenced(ask, 'sh')}\n\nOr with {program}:\n\n{fenced(python, 'python')}"


def _about_pairs(trained: Trained) -> str:
    """Return the first paragraph of the card of a CLIP."""
    size = "" if trained.parameters is None else f", {trained.parameters:,} parameters"
    return (
        f"Finds images by text, and texts by image: CLIP, a dual encoder{size}. "
        f"Trained from {text(trained.start)} with vqa-ray, finished {text(trained.finished)}."
    )


def _use_pairs(trained: Trained) -> str:
    """Return how a CLIP is used, in commands and in Python."""
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


def _data(trained: Trained) -> str:
    data = trained.data
    images = "" if data.images is None else f" about {counted(data.images, 'image')}"
    lines = [
        f"- **Trained on**: {counted(data.rows, 'row')}{images} of {text(redacted_uri(data.uri))}",
        f"- **Validated on**: {text(data.validation)} ({counted(data.validation_rows, 'row')})"
        if data.validation
        else "- **Validated on**: nothing",
        *([f"- **Answers**: {data.answers:,}"] if data.answers else []),
    ]
    return "\n".join(lines)


def _results(trained: Trained) -> str:
    log, validation = trained.log, trained.exported_validation
    hardware = f" on {text(trained.hardware)}" if trained.hardware else ""
    pace = f"{counted(log.steps, 'step')}, {counted(log.samples, 'row')}, {duration(trained.duration_s)}{hardware}"
    pace += f", {log.samples_per_s:,.1f} rows/s in training." if log.samples_per_s else "."
    if validation is None:
        return f"These weights were not validated. Training took {pace}"
    rows = [
        (text(kind), f"{accuracy:.4f}", f"{validation.rows_by_type[kind]:,}" if kind in validation.rows_by_type else "")
        for kind, accuracy in sorted(validation.accuracy_by_type.items(), key=lambda item: natural(item[0]))
    ]
    words = trained.words
    rows.append((f"**{words.whole}**", f"**{validation.accuracy:.4f}**", f"{validation.rows:,}"))
    return (
        f"{words.about} (0 to 1), of these weights, those of step {validation.step:,} (epoch {validation.epoch + 1}), "
        f"on the validation rows; loss {validation.loss:.4g} per {trained.loss_unit}:\n\n"
        f"{_table((words.part, words.share, words.count), rows, numbers=2)}\n\nTraining took {pace}"
    )


def _limits(trained: Trained) -> str:
    data = trained.data
    said = {
        VQA: f"- It can say its {data.answers:,} answers and nothing else, whatever it is asked.",
        CONTRASTIVE: _PAIR_LIMIT,
        CHAT: CHAT_LIMIT,
    }[trained.task]
    asked = "captions" if trained.task == CONTRASTIVE else "questions"
    lines = [said, f"- Nothing is known of how it does on images or {asked} of another kind than those above."]
    if trained.exported_validation is not None and len(trained.log.validations) > 1:
        lines.append(
            f"- The step was chosen by the {trained.words.measure} above, which is therefore a little too high."
        )
    if trained.exported_validation is None:
        lines.append("- How accurate it is was not measured.")
    if trained.license is None:
        lines.append(NO_LICENCE)
    lines += [f"- {text(note)}" for note in trained.notes]
    if not data.skipped:
        return "\n".join([*lines, "- No row was left out."])
    skipped = [(text(each.where), text(each.reason), f"{each.rows:,}") for each in data.skipped]
    return "\n".join(lines) + "\n\nRows that were not used:\n\n" + _table(("where", "why", "rows"), skipped, numbers=1)


def _pairs(name: str, value: str, pairs: Mapping[str, object]) -> str:
    return _table((name, value), [(text(key), text(each)) for key, each in pairs.items()], numbers=0) if pairs else ""


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, numbers: int) -> str:
    rules = ["---"] * (len(heads) - numbers) + ["---:"] * numbers
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rules, *rows))
