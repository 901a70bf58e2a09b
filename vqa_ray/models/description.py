"""The description of a model for `vqa-ray models`: lines of text, from its small files. No torch."""

from __future__ import annotations

from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint import files as checkpoint
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.registry import FAKES, FAMILIES, Family
from vqa_ray.models.trained_families import trainings_of

# What a family can do → the commands that use it.
_COMMANDS = {
    "answer": ("answer",),
    "score": ("tag", "retrieve"),
    "caption": ("caption",),
    "embed": ("index", "search"),
}


def list_families() -> list[str]:
    """List the supported families with their commands, then the models that need no download."""
    rows = [(family.display_name, ", ".join(commands_of(family))) for family in FAMILIES]
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
    """Return the answer vocabulary of a model, in the order of its scores.

    Raises:
        RequestError: no such model, or it answers freely.
    """
    vocabulary = Checkpoint.open(reference).vocabulary
    if vocabulary is None:
        raise RequestError(f"--words: model {reference} has no vocabulary: it writes its answers, or embeds images")
    return list(vocabulary.labels)


def describe_model(reference: str, some: int) -> list[str]:
    """Describe a model: family, jobs, scores, limits, weights, vocabulary.

    Args:
        reference: see `Checkpoint.open`.
        some: the most words of a vocabulary to show.

    Raises:
        RequestError: see `Checkpoint.open`.
    """
    model = Checkpoint.open(reference)
    facts = [
        ("model", reference),
        ("family", model.family.display_name),
        ("commands", ", ".join(commands_of(model.family))),
        ("score", model.similarity_meaning if model.family.tasks == {"embed"} else model.score_meaning),
        ("questions of one image share", model.family.shared_work),
        *_limits(model),
        *_weights(model),
        ("fingerprint", model.fingerprint),
        *_vocabulary(model, some),
    ]
    width = max(len(name) for name, _ in facts)
    return [f"{name:{width}}  {text}" for name, text in facts] + [f"note: {note}" for note in model.notes]


def commands_of(family: Family) -> list[str]:
    """Return the commands that use a family."""
    commands = [command for task, several in _COMMANDS.items() if task in family.tasks for command in several]
    return [*commands, *trainings_of(family)]


def _limits(model: Checkpoint) -> list[tuple[str, str]]:
    config = model.config
    text = config.get("text_config") or {}
    found: list[tuple[str, str]] = []
    tokens = text.get("max_position_embeddings") or config.get("max_position_embeddings")
    if isinstance(tokens, int):
        what = "of image, question and answer together" if model.family.is_chat else "of a text; longer ones are cut"
        found.append(("text limit", f"{tokens:,} tokens {what}"))
    if model.family.is_generative:
        found.append(("answers", "written freely (--max-new-tokens)"))
    if "embed" in model.family.tasks and model.path is not None:
        shape = model.shape
        found.append(("embedding", f"{shape.vectors} × {shape.dimension} numbers per image"))
    if model.family.takes_several:
        found.append(("images", "several per question"))
    if model.family.has_boxes:
        found.append(("boxes", "answers may point at places in the image"))
    return found


def _weights(model: Checkpoint) -> list[tuple[str, str]]:
    stored = model.weights
    if stored is None:
        return [("weights", "none")]
    size = sum(file.stat().st_size for file in stored.files)
    kind = "pickles, of which only tensors are read" if stored.pickled else "safetensors"
    count = f"{len(stored.files)} files" if len(stored.files) > 1 else stored.files[0].name
    adapted = ", with a LoRA adapter" if adapter_of(model.directory) is not None else ""
    return [("weights", f"{kind}, {count}, {size / 1e6:,.1f} MB{adapted}"), ("directory", str(model.directory))]


def _vocabulary(model: Checkpoint, some: int) -> list[tuple[str, str]]:
    vocabulary = model.vocabulary
    if vocabulary is None:
        return []
    words = ", ".join(vocabulary.labels[:some])
    rest = len(vocabulary.labels) - some
    more = f", … and {rest:,} more (--words prints all)" if rest > 0 else ""
    return [("vocabulary", f"{len(vocabulary.labels):,} answers: {words}{more}")]
