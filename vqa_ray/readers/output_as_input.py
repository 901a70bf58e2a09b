"""An output of this project that is given as an input: what it is, and whether its rows can be read."""

from __future__ import annotations

from collections.abc import Collection

from vqa_ray.readers.bookkeeping import OURS
from vqa_ray.readers.source import request_error
from vqa_ray.runs.directory import RECORD, VERSIONS
from vqa_ray.runs.record import RunRecord
from vqa_ray.storage.uri import join, redacted_uri

_DEMO = ".vqa-ray-demo.json"


def describe_output(uri: str, root: str, paths: Collection[str]) -> str:
    """Describe the run whose output a directory without images is; empty for a directory that is no output.

    Args:
        uri: of the directory, for messages.
        root: the same, absolute.
        paths: of all files below it, relative.

    Raises:
        RequestError: it is an output without rows of images: an index, a trained model or a demo.
    """
    if any(path.startswith(f"{OURS}/{VERSIONS}/") for path in paths):
        raise request_error(f"{uri}: is an index; expected the images it was made of, the --input of its command")
    if _DEMO in paths:
        raise request_error(f"{uri}: is the output of vqa-ray demo; its images are in {join(uri, 'products')}")
    record = RunRecord.read(join(root, OURS, RECORD)) if f"{OURS}/{RECORD}" in paths else None
    if record is None:
        return ""
    theirs = redacted_uri(str(record.input.get("uri")))
    if record.job == "finetune":
        raise request_error(f"{uri}: is a model, trained on {theirs}; a model goes with --model, images with --input")
    return f"the output of vqa-ray {record.job} over {theirs}"
