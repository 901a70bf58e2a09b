"""A trained ViLT, written as a directory that `from_pretrained` and every job here load."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.training.export import in_dtype, write_model
from vqa_ray.training.vqa import lora
from vqa_ray.training.vqa.network import save_processor


def export(
    destination: str,
    model: Any,
    tokenizer: Any,
    transform: ViltTransform,
    *,
    dtype: str = "float32",
    adapter: bool = False,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write the model to a local directory or URI; the training model stays as it is.

    All is written beside the destination first, then moved or uploaded file by file, `config.json` last: without it
    nothing there can be loaded. An older export there is replaced; other files are left alone.

    Args:
        destination: a local directory or URI.
        model: a `ViltForQuestionAnswering`, or one that `lora.adapt` made: its adapters are merged.
        tokenizer: of transformers.
        transform: the size of its images.
        dtype: of the written weights, `float32` or `bfloat16`.
        adapter: write the adapters alone, for `PeftModel.from_pretrained(base, destination)`; the `config.json` beside
            them holds the answers and is what the base is loaded with.
        files: name → content of files that go with them (model card, metrics).

    Raises:
        RequestError: an unknown dtype, or an adapter of a model that has none.
        RunError: the destination cannot be written.
    """
    if adapter and not lora.is_adapted(model):
        raise RequestError("an adapter was to be exported, but the model was trained without LoRA")
    kept = lora.merged(model) if lora.is_adapted(model) and not adapter else copy.deepcopy(model)
    kept = in_dtype(kept, dtype)

    def write(staged: Path) -> None:
        if adapter:
            _save_adapter(staged, kept)
        else:
            kept.save_pretrained(staged)
        save_processor(staged, tokenizer, transform)
        for file, content in (files or {}).items():
            (staged / file).write_bytes(content)

    write_model(destination, write)


def _save_adapter(directory: Path, model: Any) -> None:
    # Embeddings are not trained; left to decide, peft would ask the hub whether the vocabulary has grown.
    model.save_pretrained(directory, save_embedding_layers=False)
    # peft's card is a form to fill in.
    (directory / "README.md").unlink(missing_ok=True)
    base = model.get_base_model()
    base.config.architectures = [type(base).__name__]
    base.config.save_pretrained(directory)
