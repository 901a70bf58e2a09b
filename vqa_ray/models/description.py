"""What a person may want to know of a model before it is used: lines of text, from its small files. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint import files as checkpoint
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.weight_files import find_weights
from vqa_ray.models.encoders.shape import shape_from_config
from vqa_ray.models.load import ModelInfo, describe, load_vocabulary
from vqa_ray.models.registry import FAKES, FAMILIES, Family

# What a family can do → the commands that use it.
_COMMANDS = {"answer": "answer", "score": "tag, retrieve", "caption": "caption", "embed": "index, search"}
_TRAINED = {"vilt": "finetune", "clip": "finetune --task contrastive"}


def list_families() -> list[str]:
    """The supported families and what each is for; then the models that need no download."""
    rows = [(family.told, _jobs(family)) for family in FAMILIES]
    width = max(len(name) for name, _ in rows)
    return [
        f"{'family':{width}}  commands",
        *(f"{name:{width}}  {jobs}" for name, jobs in dict.fromkeys(rows)),
        "",
        f"bundled: {', '.join(checkpoint.BUNDLED + name for name in checkpoint.bundled_names())}; "
        f"without weights: {', '.join(FAKES)}",
        "vqa-ray models MODEL tells more of one.",
    ]


def words_of(reference: str) -> list[str]:
    """The answer vocabulary of a model, in the order of its scores.

    Raises:
        RequestError: no such model, or it answers freely.
    """
    vocabulary = load_vocabulary(reference)
    if vocabulary is None:
        raise RequestError(f"--words: model {reference} has no vocabulary: it writes its answers, or embeds images")
    return list(vocabulary.labels)


def describe_model(reference: str, some: int) -> list[str]:
    """One model: family, jobs, scores, limits, weights, vocabulary.

    Args:
        some: the most words of a vocabulary to show.

    Raises:
        RequestError: see `load.describe`.
    """
    info = describe(reference)
    config = {} if info.path is None else checkpoint.read_json(info.path, "config.json")
    facts = [
        ("model", reference),
        ("family", info.kind.told),
        ("commands", _jobs(info.kind)),
        ("score", info.similarity_meaning if info.kind.tasks == {"embed"} else info.score_meaning),
        ("questions of one image share", info.kind.shares),
        *_limits(info, config),
        *_weights(info),
        ("fingerprint", info.fingerprint),
        *_vocabulary(reference, some),
    ]
    width = max(len(name) for name, _ in facts)
    return [f"{name:{width}}  {text}" for name, text in facts] + [f"note: {note}" for note in info.notes]


def _jobs(family: Family) -> str:
    commands = [command for task, command in _COMMANDS.items() if task in family.tasks]
    trained = _TRAINED.get(family.name)
    return ", ".join([*commands, *([trained] if trained else [])])


def _limits(info: ModelInfo, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    text = config.get("text_config") or {}
    found: list[tuple[str, str]] = []
    tokens = text.get("max_position_embeddings") or config.get("max_position_embeddings")
    if isinstance(tokens, int):
        what = "of image, question and answer together" if info.kind.is_chat else "of a text; longer ones are cut"
        found.append(("text limit", f"{tokens:,} tokens {what}"))
    if info.kind.is_generative:
        found.append(("answers", "written freely (--max-new-tokens)"))
    if "embed" in info.kind.tasks and info.path is not None:
        shape = shape_from_config(info.family, config, f"model {info.reference}")
        found.append(("embedding", f"{shape.vectors} × {shape.dimension} numbers per image"))
    if info.kind.takes_several:
        found.append(("images", "several per question"))
    if info.kind.has_boxes:
        found.append(("boxes", "answers may point at places in the image"))
    return found


def _weights(info: ModelInfo) -> list[tuple[str, str]]:
    if info.path is None:
        return [("weights", "none")]
    stored = find_weights(info.path, f"model {info.reference}")
    size = sum(file.stat().st_size for file in stored.files)
    kind = "pickles, of which only tensors are read" if stored.pickled else "safetensors"
    count = f"{len(stored.files)} files" if len(stored.files) > 1 else stored.files[0].name
    adapted = ", with a LoRA adapter" if adapter_of(info.path) is not None else ""
    return [("weights", f"{kind}, {count}, {size / 1e6:,.1f} MB{adapted}"), ("directory", str(info.path))]


def _vocabulary(reference: str, some: int) -> list[tuple[str, str]]:
    vocabulary = load_vocabulary(reference)
    if vocabulary is None:
        return []
    words = ", ".join(vocabulary.labels[:some])
    rest = len(vocabulary.labels) - some
    more = f", … and {rest:,} more (--words prints all)" if rest > 0 else ""
    return [("vocabulary", f"{len(vocabulary.labels):,} answers: {words}{more}")]
