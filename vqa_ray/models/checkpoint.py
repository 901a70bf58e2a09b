"""A model reference → a local directory in `save_pretrained` layout, and what its small files say. No torch here."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import struct
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from vqa_ray import storage
from vqa_ray.errors import ModelLoadError

BUNDLED = "bundled:"
# By class names of sentence-transformers: vectors are normalised here anyway.
_MODEL_MODULES, _HARMLESS_MODULES = ("CLIPModel", "Transformer"), ("Normalize",)
_WEIGHTS_SAMPLE_BYTES = 1 << 20
_WEIGHTS_SAMPLES = 16
_DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def local_directory(reference: str) -> Path:
    """Where the files of `reference` lie on this machine; URIs and hub names are copied to a local cache once.

    Args:
        reference: `bundled:NAME`, a directory, a URI of one (`s3://…`), or a hub name `org/name[@revision]`. Of a
            sentence-transformers directory, the one in it that holds the CLIP model.

    Raises:
        ModelLoadError: there is no such model, or a sentence-transformers directory holds another kind.
    """
    return _within(_root(reference))


def _root(reference: str) -> Path:
    if reference.startswith(BUNDLED):
        return _bundled(reference.removeprefix(BUNDLED))
    if "://" in reference and not reference.startswith("file://"):
        return _copied(reference)
    path = Path(reference.removeprefix("file://")).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelLoadError(f"model {reference}: is a file, wanted a directory in save_pretrained layout")
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", reference):
        return _downloaded(reference)
    raise ModelLoadError(
        f"model {reference}: no such directory; allowed are bundled:NAME ({', '.join(bundled_names())}), "
        "a directory, a URI of one, or a hub name org/name[@revision]"
    )


def _within(directory: Path) -> Path:
    """The directory itself, or the one of the model that the `modules.json` of sentence-transformers names."""
    path = directory / "modules.json"
    if not path.is_file():
        return directory
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        inner = directory / str(modules[0]["path"])
    except (UnicodeDecodeError, ValueError, LookupError, TypeError) as error:
        raise ModelLoadError(f"model {directory}: modules.json is not one of sentence-transformers: {error}") from error
    if kinds[0] not in _MODEL_MODULES or any(kind not in _HARMLESS_MODULES for kind in kinds[1:]):
        raise ModelLoadError(
            f"model {directory}: modules.json lists {', '.join(kinds)}; of sentence-transformers directories those of "
            f"one CLIPModel are supported, with Normalize behind it at most"
        )
    if not inner.resolve().is_relative_to(directory.resolve()):
        raise ModelLoadError(f"model {directory}: modules.json leads out of the directory, to {modules[0]['path']!r}")
    return inner


def bundled_names() -> list[str]:
    """The models that ship with the package."""
    root = Path(str(resources.files("vqa_ray") / "assets"))
    return sorted(path.parent.name for path in root.glob("*/config.json"))


def _bundled(name: str) -> Path:
    path = Path(str(resources.files("vqa_ray") / "assets")) / name
    if not (path / "config.json").is_file():
        raise ModelLoadError(f"model {BUNDLED}{name}: no such bundled model; there are {', '.join(bundled_names())}")
    return path


def _copied(uri: str) -> Path:
    """Copy a directory from object storage; the cache key holds sizes and dates, so a changed model is copied anew."""
    files = storage.list_files(uri)
    if not files:
        raise ModelLoadError(f"model {uri}: nothing there")
    listing = "\n".join(f"{f.uri} {f.size_bytes} {f.modified}" for f in files)
    key = hashlib.sha256(listing.encode()).hexdigest()[:24]
    root = Path(os.environ.get("VQA_RAY_CACHE", Path.home() / ".cache" / "vqa-ray")) / "models"
    target = root / key
    # It is renamed into place when it is whole.
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    filesystem, base = storage.filesystem_for(uri)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        staged = Path(scratch) / "model"
        for file in files:
            _, path = storage.filesystem_for(file.uri)
            local = staged / path[len(base.rstrip("/")) + 1 :]
            local.parent.mkdir(parents=True, exist_ok=True)
            with filesystem.open_input_stream(path) as source, local.open("wb") as sink:
                while chunk := source.read(8 << 20):
                    sink.write(chunk)
        try:
            staged.rename(target)
        except OSError:
            # Another process on this machine finished the same copy first.
            if not target.is_dir():
                raise
    return target


def _downloaded(reference: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = reference.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_DOWNLOADED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelLoadError(
            f"model {reference}: not a local directory, and the hub did not give it: {reason}"
        ) from error


def read_json(directory: Path, name: str, *, required: bool = True) -> dict[str, Any]:
    """A JSON object of the checkpoint; empty when it is absent and not required.

    Raises:
        ModelLoadError: missing though required, or not a JSON object.
    """
    path = directory / name
    if not path.is_file():
        if required:
            raise ModelLoadError(f"model {directory}: {name} is missing; wanted a directory in save_pretrained layout")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelLoadError(f"model {directory}: {name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"model {directory}: {name} holds a {type(content).__name__}, wanted an object")
    return content


def image_processor_config(directory: Path) -> dict[str, Any]:
    """The image processor's settings, from the new layout (`processor_config.json`) or the old.

    Raises:
        ModelLoadError: neither is there.
    """
    nested = read_json(directory, "processor_config.json", required=False).get("image_processor")
    if isinstance(nested, dict):
        return nested
    return read_json(directory, "preprocessor_config.json")


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint, every shard of its index present.

    Raises:
        ModelLoadError: only pickles are there (they can run code when loaded), nothing is, or a shard is missing.
    """
    index = read_json(directory, "model.safetensors.index.json", required=False)
    if index:
        files = sorted({directory / name for name in index.get("weight_map", {}).values()})
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise ModelLoadError(f"model {directory}: weights are incomplete, missing {', '.join(absent)}")
        return files
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
        hint = (
            f"only {', '.join(pickles)}, and pickles can run code when loaded; convert once with "
            "AutoModel.from_pretrained(DIR).save_pretrained(DIR) in a place you trust"
            if pickles
            else "no *.safetensors file"
        )
        raise ModelLoadError(f"model {directory}: {hint}")
    return files


def fingerprint(directory: Path) -> str:
    """SHA-256 over the small files, and over the header, the size and evenly spread samples of each weights file.

    Sampling keeps this under a second for any model; a change that evades it would have to leave the header, the
    size and all samples equal.
    """
    digest = hashlib.sha256()
    small = (sorted(directory.glob(pattern)) for pattern in ("*.json", "*.txt", "*.jinja", "*.model"))
    for path in itertools.chain.from_iterable(small):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in weight_files(directory):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            (header,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
            digest.update(file.read(min(header, size)))
            for sample in range(_WEIGHTS_SAMPLES):
                file.seek(size * sample // _WEIGHTS_SAMPLES)
                digest.update(file.read(_WEIGHTS_SAMPLE_BYTES))
    return digest.hexdigest()


def check_image_token(directory: Path) -> None:
    """Whether config and processor agree on how an image stands in text; needs no weights and no torch.

    Without it, transformers' own processors build prompts in which the image has no place, and the answer is given
    without looking at it.

    Raises:
        ModelLoadError: the config or the tokenizer lacks the image token, or the counts of query tokens differ.
    """
    config = read_json(directory, "config.json")
    origin = f"model {directory}"
    token = config.get("image_token_index", config.get("image_token_id"))
    if not isinstance(token, int):
        raise ModelLoadError(
            f"{origin}: config.json has no image_token_index, so images would have no place in the text; "
            f"add '<image>' to the tokenizer, resize the embeddings and set image_token_index to its id"
        )
    count = read_json(directory, "processor_config.json", required=False).get("num_query_tokens")
    wanted = config.get("num_query_tokens", 32)
    if count is not None and count != wanted:
        raise ModelLoadError(
            f"{origin}: processor_config.json gives an image {count} tokens, config.json {wanted}; they must agree"
        )
