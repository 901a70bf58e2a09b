"""The difference of a command from that of a run, in words: the option, and old → new."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vqa_ray.storage.canonical import is_same_place

# Fields that name a file or a directory; another one of these decides whether its contents are the same.
_CONTENTS = {
    "model": "model_fingerprint",
    "tags": "tags_fingerprint",
    "calibration": "calibration_fingerprint",
    "validation": "validation_fingerprint",
    "lora": "model_fingerprint",
    "then": "second_fingerprint",
    "agree": "second_fingerprint",
}
_PLACES = ("vocabulary",)
# Told by what a record says of the input.
_INPUT = ("input", "input_format")
_SPELLED = {"columns": "column"}


def differences(
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    input_was: Mapping[str, Any],
    input_now: Mapping[str, Any],
) -> list[str]:
    """Compare the options that decide the answers.

    Args:
        was: `job`, the fields of the command, `model` and the fingerprints of what is named by its place.
        now: `job`, the fields of the command, `model` and the fingerprints of what is named by its place.
        input_was: what the records say of the input.
        input_now: what the records say of the input.

    Returns:
        One line each; empty where both ask for the same. Of a place, only another place or other contents count, never
        the spelling.
    """
    if was["job"] != now["job"]:
        return [f"it is a run of `{was['job']}`, not of `{now['job']}`"]
    if ("rethreshold" in was) != ("rethreshold" in now):
        return [f"--rethreshold: {written(was.get('rethreshold'))} → {written(now.get('rethreshold'))}"]
    return [*_of_input(input_was, input_now), *_of_fields(was, now)]


def _of_input(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if was.get("format") != now.get("format"):
        yield f"--input-format: {was.get('format')} → {now.get('format')}"
    # A run of an earlier version keeps no place, but a fingerprint of names, sizes and times.
    if "place" in was and "place" in now:
        if was["place"] != now["place"]:
            yield f"--input: {was['place']} → {now['place']}"
    elif was["fingerprint"] != now["fingerprint"]:
        if is_same_place(was["uri"], now["uri"]):
            yield (
                f"--input {now['uri']}: its files are not those that the run began with, and an earlier version of "
                "vqa-ray did not keep their names"
            )
        else:
            yield f"--input: {was['uri']} → {now['uri']}"


def _of_fields(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for field in sorted({*was, *now} - {"job", *_INPUT, *_CONTENTS.values()}):
        mine, theirs = was.get(field), now.get(field)
        option = option_of(field)
        if field in _CONTENTS:
            if was.get(_CONTENTS[field]) == now.get(_CONTENTS[field]):
                continue
            if mine == theirs:
                yield f"{option} {theirs}: its contents have changed since"
                continue
        elif mine == theirs or (field in _PLACES and mine and theirs and is_same_place(mine, theirs)):
            continue
        yield f"{option}: {written(mine)} → {written(theirs)}"


def option_of(field: str) -> str:
    """Return the option that a field is given by."""
    return "--" + _SPELLED.get(field, field).replace("_", "-")


def written(value: object) -> str:
    """Return a value as it may stand in a message."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 80 else text[:79] + "…"
