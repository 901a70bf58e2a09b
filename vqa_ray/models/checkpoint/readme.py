"""The card that lies beside a model. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.uri import join

_CARD = "README.md"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def card_of(reference: str, directory: Path) -> str | None:
    """Return the text of a model's card; None where there is none that can be read.

    Args:
        reference: as for `checkpoint.locate`.
        directory: where the files that are read of it lie.
    """
    try:
        if (directory / _CARD).is_file():
            content = (directory / _CARD).read_bytes()
        elif "://" in reference:
            content = read_bytes(join(reference, _CARD))
        elif _HUB_NAME.fullmatch(reference) and not Path(reference).exists():
            content = _downloaded(reference).read_bytes()
        else:
            return None
    except OSError:
        return None
    return content.decode("utf-8", "replace")


def _downloaded(reference: str) -> Path:
    from huggingface_hub import errors, hf_hub_download

    name, _, revision = reference.partition("@")
    try:
        return Path(hf_hub_download(name, _CARD, revision=revision or None))
    except (errors.HTTPError, RuntimeError, ValueError) as error:  # type: ignore[attr-defined]
        raise FileNotFoundError(_CARD) from error
