"""A `FiftyOneImageClassificationDataset` that `vqa-ray export --to fiftyone` made, corrected, and exported again.

FiftyOne keeps our attributes with `include_attributes=True`. It does not tell which labels a person has looked at: a
verdict is a label that was changed or deleted, or an attribute `verdict` (right, wrong).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vqa_ray.review.annotations import Annotation


def annotations_of(content: Any) -> Iterator[Annotation]:
    """Yield the labels of each sample, by what they are of; a sample without labels does not name its row.

    Args:
        content: the parsed `labels.json`.

    Raises:
        ValueError: it is no such file.
    """
    labels = content.get("labels") if isinstance(content, Mapping) else None
    if not isinstance(labels, Mapping):
        raise ValueError("expected `labels` by sample: the labels.json of a FiftyOneImageClassificationDataset")
    for given in labels.values():
        found: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
        for each in given if isinstance(given, list) else [given] if given else []:
            attributes = each.get("attributes") or {}
            if "source_key" not in attributes or "of" not in attributes:
                raise ValueError(
                    "a label has no attributes `source_key` and `of`: export the run again, and from FiftyOne with "
                    "include_attributes=True"
                )
            found.setdefault((int(attributes["source_key"]), str(attributes["of"])), []).append(each)
        if not found:
            yield Annotation(None, None, (), seen=False)
        for (key, question), mine in found.items():
            verdict = next((v for each in mine if (v := each["attributes"].get("verdict"))), "")
            answers = tuple(str(each.get("label") or "") for each in mine)
            reviewer = next((r for each in mine if (r := each["attributes"].get("reviewer"))), "")
            yield Annotation(key, question, answers, str(verdict).lower(), seen=False, reviewer=str(reviewer))
