"""The JSON export of Label Studio, of tasks that `vqa-ray export --to label-studio` made.

Choices are read by attribute, TextArea as `answer` or `caption`; Choices named `verdict` (right, wrong) are a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vqa_ray.review.annotations import Annotation

VERDICT = "verdict"
_TEXTS = ("answer", "caption")


def annotations_of(tasks: Any) -> Iterator[Annotation]:
    """Yield the annotations of submitted tasks; of several of a task, those of the last.

    Args:
        tasks: the parsed file.

    Raises:
        ValueError: it is no such export.
    """
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) and "data" in task for task in tasks):
        raise ValueError("expected a list of tasks with `data`: Label Studio's export as JSON, not JSON-MIN")
    for task in tasks:
        given = [each for each in task.get("annotations") or () if not each.get("was_cancelled")]
        if given:
            last = max(given, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
            yield from _of_task(task["data"], last)


def _of_task(data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Iterator[Annotation]:
    if "source_key" not in data:
        raise ValueError("a task has no `source_key`: export the run again, older exports cannot be joined")
    results: dict[str, list[str]] = {name: [] for name in data.get("attributes", ())}
    texts: list[str] = []
    for result in annotation.get("result") or ():
        name, value = result.get("from_name", ""), result.get("value", {})
        if name in _TEXTS:
            # Several of them are the answers to the questions of the row, in their order.
            text = value.get("text", ())
            texts.append(text if isinstance(text, str) else " ".join(map(str, text)))
        elif "choices" in value:
            results.setdefault(name, []).extend(map(str, value["choices"]))
    verdict = "".join(results.pop(VERDICT, ())).lower()
    by = annotation.get("completed_by")
    reviewer = str(by.get("email") or by.get("id") or "") if isinstance(by, Mapping) else "" if by is None else str(by)
    time = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    key = int(data["source_key"])
    if results:
        # Of several attributes, `wrong` does not say which.
        unclear = verdict == "wrong" and len(results) > 1
        said = "" if unclear else verdict
        for name, answers in results.items():
            yield Annotation(key, name, tuple(answers), said, seen=not unclear, reviewer=reviewer, time=time)
        return
    for number, question in enumerate(data.get("questions") or [data.get("question")]):
        answer = tuple(texts[number : number + 1])
        yield Annotation(key, question, answer, verdict, reviewer=reviewer, time=time)
