"""A model reference → a local directory in `save_pretrained` layout, and what its small files say. No torch here."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from vqa_ray.errors import ModelLoadError, one_line
from vqa_ray.models.checkpoint.adapter import with_base
from vqa_ray.models.checkpoint.assembled import assemble, cache_root, rename_whole
from vqa_ray.models.checkpoint.file_selection import (
    ADAPTER_WEIGHTS,
    CONFIG,
    are_pickled,
    is_adapter,
    names_within,
    small_names,
    weight_names,
)
from vqa_ray.models.checkpoint.fingerprint import fingerprint
from vqa_ray.models.checkpoint.foreign_layout import directory_hint, original_layout, weights_hint
from vqa_ray.models.checkpoint.hub_download import download, find_revision
from vqa_ray.models.checkpoint.json_files import image_processor_config, read_json
from vqa_ray.models.checkpoint.weight_files import listed_shards, weight_files
from vqa_ray.models.registry import FAMILIES
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.store_errors import store_failures, store_reason

__all__ = [
    "BUNDLED",
    "Checkpoint",
    "bundled_names",
    "check_image_token",
    "fingerprint",
    "image_processor_config",
    "local_directory",
    "locate",
    "read_json",
    "weight_files",
]

BUNDLED = "bundled:"
# By class names of sentence-transformers: vectors are normalised here anyway.
_MODEL_MODULES, _HARMLESS_MODULES = ("CLIPModel", "Transformer"), ("Normalize",)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/tree/([\w./-]+?))?/?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What the hub said of a reference, for the rest of the process: of one reference every part is read of one revision.
_downloaded_before: dict[tuple[str, str, str], Checkpoint] = {}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on this machine.

    Attributes:
        path: its directory.
        told: what a person should know of where it comes from, one line each.
    """

    path: Path
    told: tuple[str, ...] = ()


def local_directory(reference: str) -> Path:
    """Where the files of `reference` lie on this machine; see `locate`."""
    return locate(reference).path


def locate(reference: str) -> Checkpoint:
    """Find a model; of URIs and hub names the files that are read are copied to a local cache once.

    Args:
        reference: `bundled:NAME`, a directory, a URI of one (`s3://…`), or a hub name `org/name[@revision]`. Of a
            sentence-transformers directory, the one in it that holds the CLIP model is found; of a LoRA adapter, one
            that holds it together with its base model.

    Raises:
        ModelLoadError: there is no such model, it is in a layout that is not read, or a sentence-transformers
            directory holds another kind.
    """
    found = _root(reference)
    inner = _within(found.path)
    names = _names_of(inner)
    if is_adapter(names):
        path, base = with_base(inner, reference, local_directory)
        return Checkpoint(path, (*found.told, f"model {reference}: a LoRA adapter, merged into its base {base}"))
    below = "" if inner == found.path else f"/{inner.relative_to(found.path).as_posix()}"
    _refuse_foreign(inner, names, f"{reference}{below}")
    return replace(found, path=_without_marks(inner))


def _root(reference: str) -> Checkpoint:
    if reference.startswith(BUNDLED):
        return Checkpoint(_bundled(reference.removeprefix(BUNDLED)))
    page = _HUB_PAGE.fullmatch(reference)
    if page:
        name = page[1] + (f"@{page[2]}" if page[2] else "")
        raise ModelLoadError(
            f"model {reference}: is a page of the hub; its models are named {name}, without the address"
        )
    if "://" in reference and not reference.startswith("file://"):
        return Checkpoint(_copied(reference))
    path = Path(reference.removeprefix("file://")).expanduser()
    if path.is_dir():
        return Checkpoint(path)
    if path.exists():
        raise ModelLoadError(f"model {reference}: is a file, wanted a directory in save_pretrained layout")
    if _HUB_NAME.fullmatch(reference):
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
        modules = json.loads(path.read_bytes())
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
    if not (path / CONFIG).is_file():
        raise ModelLoadError(f"model {BUNDLED}{name}: no such bundled model; there are {', '.join(bundled_names())}")
    return path


def _copied(uri: str) -> Path:
    """Copy a directory from object storage; the cache key holds sizes and dates, so a changed model is copied anew."""
    try:
        files = storage.list_files(uri)
    except store_failures() as error:
        raise ModelLoadError(f"model {storage.redacted_uri(uri)}: cannot be listed: {store_reason(error)}") from error
    if not files:
        raise ModelLoadError(f"model {uri}: nothing there")
    listing = "\n".join(f"{f.uri} {f.size_bytes} {f.modified}" for f in files)
    root = cache_root()
    target = root / hashlib.sha256(listing.encode()).hexdigest()[:24]
    # It is renamed into place when it is whole.
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    filesystem, base = storage.filesystem_for(uri)
    prefix = base.rstrip("/") + "/"
    names = [storage.filesystem_for(file.uri)[1].removeprefix(prefix) for file in files]
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        staged = Path(scratch) / "model"
        staged.mkdir()

        def fetch(selected: Sequence[str]) -> Path:
            for name in selected:
                local = staged / name
                local.parent.mkdir(parents=True, exist_ok=True)
                with filesystem.open_input_stream(prefix + name) as source, local.open("wb") as sink:
                    while chunk := source.read(8 << 20):
                        sink.write(chunk)
            return staged

        try:
            _fetch(uri, names, fetch)
        except OSError as error:
            raise ModelLoadError(
                f"model {storage.redacted_uri(uri)}: cannot be copied: {one_line(error, 160)}"
            ) from error
        rename_whole(staged, target)
    return target


def _downloaded(reference: str) -> Checkpoint:
    from huggingface_hub import constants

    key = (reference, constants.ENDPOINT, str(constants.HF_HUB_CACHE))
    known = _downloaded_before.get(key)
    if known is not None and known.path.is_dir():
        return known
    revision = find_revision(reference, pickled=are_pickled)
    if revision.files is None:
        path = download(revision, [], reference)
    else:
        path = _fetch(reference, revision.files, lambda names: download(revision, names, reference))
    told = (f"model {reference}: {revision.told}",) if revision.told else ()
    _downloaded_before[key] = Checkpoint(path, told)
    return _downloaded_before[key]


def _fetch(reference: str, names: Sequence[str], fetch: Callable[[Sequence[str]], Path]) -> Path:
    """Fetch what is read of a checkpoint: its small files, and when they are in order its weights.

    Args:
        names: of all its files.
        fetch: brings files of these names into one directory, and gives that.

    Raises:
        ModelLoadError: the names or the small files show that it cannot be read.
    """
    directory = fetch(small_names(names))
    inner = _within(directory)
    prefix = "" if inner == directory else f"{inner.relative_to(directory).as_posix()}/"
    own = names_within(names, prefix)
    if is_adapter(own):
        weights = [name for name in ADAPTER_WEIGHTS if name in own][:1]
    else:
        below = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        _refuse_foreign(inner, below, reference)
        chosen = weight_names(own)
        if chosen is None:
            raise ModelLoadError(f"model {reference}: {weights_hint(below)}")
        weights = listed_shards(inner, chosen.index, f"model {reference}") if chosen.index else [chosen.single]
        absent = [name for name in weights if name not in own]
        if absent:
            raise ModelLoadError(
                f"model {reference}: weights are incomplete, missing {', '.join(absent[:5])}, listed in {chosen.index}"
            )
    return fetch([prefix + name for name in weights])


def _refuse_foreign(directory: Path, names: Sequence[str], reference: str) -> None:
    """Refuse a directory whose names or config show another program's layout."""
    if CONFIG not in names:
        raise ModelLoadError(f"model {reference}: {directory_hint(names)}")
    foreign = original_layout(read_json(directory, CONFIG), {family.name for family in FAMILIES})
    if foreign:
        raise ModelLoadError(f"model {reference}: {foreign}")


def _names_of(directory: Path) -> list[str]:
    """The names of a local directory's files, down to those of its own directories."""
    files = (path for pattern in ("*", "*/*") for path in directory.glob(pattern) if path.is_file())
    return sorted(path.relative_to(directory).as_posix() for path in files)


def _without_marks(directory: Path) -> Path:
    """The directory itself, or a copy whose small files have no byte order marks, which transformers does not take."""
    small = [directory / name for name in small_names(_names_of(directory)) if not name.endswith(".model")]
    marked = [path for path in small if _beginning(path) == _BYTE_ORDER_MARK]
    if not marked:
        return directory
    files: dict[str, Path | bytes] = {
        path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()
    }
    for path in marked:
        files[path.relative_to(directory).as_posix()] = path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    return assemble(files)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_BYTE_ORDER_MARK))


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
