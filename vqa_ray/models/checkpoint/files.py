"""Model references: each resolved to a local directory in `save_pretrained` layout. No torch here."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.models.checkpoint.adapter import base_of, join_with_base
from vqa_ray.models.checkpoint.assembled import alone_at, assemble, cache_root, rename_whole
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
from vqa_ray.models.checkpoint.json_files import image_processor_config, parse_json, read_json
from vqa_ray.models.checkpoint.sentence_transformers import inner_directory
from vqa_ray.models.checkpoint.weight_files import listed_shards, weight_files
from vqa_ray.models.registry import FAMILIES
from vqa_ray.storage import filesystem as storage
from vqa_ray.storage.store_errors import store_failures, store_reason
from vqa_ray.storage.uri import redacted_uri

__all__ = [
    "BUNDLED",
    "CheckpointFiles",
    "bundled_names",
    "fingerprint",
    "image_processor_config",
    "local_directory",
    "locate",
    "pinned",
    "read_json",
    "weight_files",
]

BUNDLED = "bundled:"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/tree/([\w./-]+?))?/?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The files of a checkpoint on this machine.

    Attributes:
        path: their directory.
        config: the contents of its config.json.
        notes: facts about their origin that a user should see, one line each.
        revisions: of each hub name the commit, and of each URI the listing, that was read.
    """

    path: Path
    config: bytes
    notes: tuple[str, ...] = ()
    revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Root:
    """The directory that a reference names, before it is looked into; see `CheckpointFiles`."""

    path: Path
    notes: tuple[str, ...] = ()
    revisions: Mapping[str, str] = field(default_factory=dict)


def local_directory(reference: str) -> Path:
    """Return the directory of `locate`."""
    return locate(reference).path


def pinned(reference: str, revisions: Mapping[str, str]) -> str:
    """Return a reference, a hub name at the commit that was read: for packages that resolve it themselves."""
    commit = revisions.get(reference)
    return reference if commit is None or "://" in reference else f"{reference.partition('@')[0]}@{commit}"


def locate(reference: str, revisions: Mapping[str, str] | None = None) -> CheckpointFiles:
    """Find a model; the files that are read of URIs and hub names are copied to a local cache once.

    Args:
        reference: `bundled:NAME`, a directory, a URI of one (`s3://…`), or a hub name `org/name[@revision]`. In a
            sentence-transformers directory, the directory of its CLIP model is found; of a LoRA adapter, one
            that holds it together with its base model.
        revisions: those of an earlier call, in another process perhaps: exactly these are read again.

    Raises:
        ModelLoadError: no such model, a layout that is not supported, a sentence-transformers directory of another
            kind, or files at a URI that differ from those of `revisions`.
    """
    root = root_of(reference, revisions or {})
    inner = inner_directory(root.path)
    names = _names_of(inner)
    if is_adapter(names):
        return _with_base(root, inner, reference, revisions)
    below = "" if inner == root.path else f"/{inner.relative_to(root.path).as_posix()}"
    config = _refuse_foreign(inner, names, f"{reference}{below}")
    path = _without_marks(inner, names, config)
    return CheckpointFiles(path, config.removeprefix(_BYTE_ORDER_MARK), root.notes, root.revisions)


def _with_base(root: Root, directory: Path, reference: str, revisions: Mapping[str, str] | None) -> CheckpointFiles:
    """Return an adapter's files, joined with those of its base model."""
    label = f"model {reference}"
    base = base_of(directory, label)
    try:
        found = locate(base, revisions)
    except RequestError as error:
        raise ModelLoadError(f"{label}: a LoRA adapter, and its base is not available: {error}") from error
    path = join_with_base(directory, base, found.path, label)
    notes = (*root.notes, f"{label}: a LoRA adapter, merged into its base {base}")
    return CheckpointFiles(path, (path / CONFIG).read_bytes(), notes, {**found.revisions, **root.revisions})


def root_of(reference: str, revisions: Mapping[str, str]) -> Root:
    """Find the directory that a reference names; see `locate`."""
    if reference.startswith(BUNDLED):
        return Root(_bundled(reference.removeprefix(BUNDLED)))
    page = _HUB_PAGE.fullmatch(reference)
    if page:
        name = page[1] + (f"@{page[2]}" if page[2] else "")
        raise ModelLoadError(
            f"model {reference}: is a page of the hub; its models are named {name}, without the address"
        )
    if "://" in reference and not reference.startswith("file://"):
        return _copied(reference, revisions.get(reference))
    path = Path(reference.removeprefix("file://")).expanduser()
    if path.is_dir():
        return Root(path)
    if path.exists():
        raise ModelLoadError(f"model {reference}: is a file, wanted a directory in save_pretrained layout")
    if _HUB_NAME.fullmatch(reference):
        return _downloaded(reference, revisions.get(reference))
    raise ModelLoadError(
        f"model {reference}: no such directory; allowed are bundled:NAME ({', '.join(bundled_names())}), "
        "a directory, a URI of one, or a hub name org/name[@revision]"
    )


def bundled_names() -> list[str]:
    """Return the models that ship with the package."""
    root = Path(str(resources.files("vqa_ray") / "assets"))
    return sorted(path.parent.name for path in root.glob("*/config.json"))


def _bundled(name: str) -> Path:
    path = Path(str(resources.files("vqa_ray") / "assets")) / name
    if not (path / CONFIG).is_file():
        raise ModelLoadError(f"model {BUNDLED}{name}: no such bundled model; there are {', '.join(bundled_names())}")
    return path


def _copied(uri: str, listing: str | None) -> Root:
    """Copy a directory from object storage; the cache key holds sizes and dates, so a changed model is copied anew."""
    root = cache_root()
    if listing is not None and (root / listing).is_dir():
        return Root(root / listing, (), {uri: listing})
    try:
        files = storage.list_files(uri)
    except store_failures() as error:
        raise ModelLoadError(f"model {redacted_uri(uri)}: cannot be listed: {store_reason(error)}") from error
    if not files:
        raise ModelLoadError(f"model {uri}: nothing there")
    lines = "\n".join(f"{f.uri} {f.size_bytes} {f.modified}" for f in files)
    found = hashlib.sha256(lines.encode()).hexdigest()[:24]
    if listing not in (None, found):
        raise ModelLoadError(
            f"model {redacted_uri(uri)}: its files have changed since the command opened it; run it again"
        )
    target = root / found
    if not target.is_dir():
        # The actors of a node start together: one copies, the others find its copy.
        with alone_at(found):
            if not target.is_dir():
                _copy(uri, [file.uri for file in files], target)
    return Root(target, (), {uri: found})


def _copy(uri: str, files: Sequence[str], target: Path) -> None:
    """Copy what is read of the files of a directory in object storage; a whole copy is renamed into place."""
    filesystem, base = storage.filesystem_for(uri)
    prefix = base.rstrip("/") + "/"
    names = [storage.filesystem_for(file)[1].removeprefix(prefix) for file in files]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
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
        except store_failures() as error:
            raise ModelLoadError(f"model {redacted_uri(uri)}: cannot be copied: {store_reason(error)}") from error
        rename_whole(staged, target)


def _downloaded(reference: str, commit: str | None) -> Root:
    """Download a hub name, at a commit if given."""
    wanted = f"{reference.partition('@')[0]}@{commit}" if commit else reference
    revision = find_revision(wanted, pickled=are_pickled)
    if revision.files is None:
        path = download(revision, [], reference)
    else:
        path = _fetch(reference, revision.files, lambda names: download(revision, names, reference))
    notes = (f"model {reference}: {revision.note}",) if revision.note else ()
    # The hub's cache names the directory of a snapshot after its commit.
    return Root(path, notes, {reference: path.name})


def _fetch(reference: str, names: Sequence[str], fetch: Callable[[Sequence[str]], Path]) -> Path:
    """Fetch what is read of a checkpoint: its small files, and when they are in order its weights.

    Args:
        reference: as the user gave it.
        names: of all its files.
        fetch: brings files of these names into one directory, and gives that.

    Raises:
        ModelLoadError: the names or the small files show that it cannot be read.
    """
    directory = fetch(small_names(names))
    inner = inner_directory(directory)
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


def _refuse_foreign(directory: Path, names: Sequence[str], reference: str) -> bytes:
    """Refuse a directory in another program's layout, as its names or config show; return its config.json."""
    if CONFIG not in names:
        raise ModelLoadError(f"model {reference}: {directory_hint(names)}")
    config = (directory / CONFIG).read_bytes()
    foreign = original_layout(parse_json(config, directory, CONFIG), {family.name for family in FAMILIES})
    if foreign:
        raise ModelLoadError(f"model {reference}: {foreign}")
    return config


def _names_of(directory: Path) -> list[str]:
    """Return the names of a local directory's files, down to those of its own directories."""
    files = (path for pattern in ("*", "*/*") for path in directory.glob(pattern) if path.is_file())
    return sorted(path.relative_to(directory).as_posix() for path in files)


def _without_marks(directory: Path, names: Sequence[str], config: bytes) -> Path:
    """Return the directory or, as transformers rejects byte order marks, a copy whose small files have none."""
    heads = {name: config if name == CONFIG else _head(directory / name) for name in small_names(names)}
    marked = [name for name, head in heads.items() if head.startswith(_BYTE_ORDER_MARK) and not name.endswith(".model")]
    if not marked:
        return directory
    files: dict[str, Path | bytes] = {
        path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()
    }
    files |= {name: (directory / name).read_bytes().removeprefix(_BYTE_ORDER_MARK) for name in marked}
    return assemble(files)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_BYTE_ORDER_MARK))
