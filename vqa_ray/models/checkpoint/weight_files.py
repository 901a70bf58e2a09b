"""The weight files of a checkpoint directory: there, whole, and nothing but tensors. No torch."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from vqa_ray.errors import ModelLoadError
from vqa_ray.models.checkpoint.file_selection import shard_names, weight_names
from vqa_ray.models.checkpoint.foreign_layout import weights_hint
from vqa_ray.models.checkpoint.json_files import read_json
from vqa_ray.models.checkpoint.pickled import foreign_imports
from vqa_ray.storage.git_lfs import POINTER

_HEADER_LIMIT = 100 * 2**20
_SHOWN_IMPORTS = 5


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files of weights that are loaded.

    Attributes:
        files: each shard, or the one file.
        pickled: whether they are pickles, of which only tensors are taken.
    """

    files: tuple[Path, ...]
    pickled: bool

    def notes(self, reference: str) -> tuple[str, ...]:
        """Return facts about the files that a user should see."""
        note = f"model {reference}: weights are pickles, of which only tensors are read"
        return (note,) if self.pickled else ()


def weight_files(directory: Path) -> list[Path]:
    """Return the files of `find_weights`."""
    return list(find_weights(directory).files)


def find_weights(directory: Path, label: str | None = None) -> WeightFiles:
    """Find the weights of a checkpoint, safetensors before pickles; only their sizes and headers are read.

    Args:
        directory: of the checkpoint.
        label: what messages begin with; `model DIRECTORY` without.

    Raises:
        ModelLoadError: there are none, one is missing, empty, cut short or a Git LFS pointer, or a pickle holds more
            than tensors.
    """
    label = label or f"model {directory}"
    names = {path.name for path in directory.iterdir() if path.is_file()}
    chosen = weight_names(names)
    if chosen is None:
        below = {path.relative_to(directory).as_posix() for path in directory.glob("*/*") if path.is_file()}
        raise ModelLoadError(f"{label}: {weights_hint(names | below)}")
    shards = [chosen.single]
    if chosen.index:
        shards = listed_shards(directory, chosen.index, label)
        absent = [name for name in shards if name not in names]
        if absent:
            raise ModelLoadError(
                f"{label}: weights are incomplete, missing {', '.join(absent[:5])}{' …' if absent[5:] else ''} "
                f"({len(absent)} of {len(shards)} files that {chosen.index} lists)"
            )
    files = tuple(directory / name for name in shards)
    for file in files:
        check_weight_file(file, chosen.pickled, label)
    return WeightFiles(files, chosen.pickled)


def listed_shards(directory: Path, index: str, label: str) -> list[str]:
    """Read the files that an index in the directory lists.

    Raises:
        ModelLoadError: it is not an index of weights.
    """
    content = read_json(directory, index)
    try:
        return shard_names(content)
    except ValueError as error:
        raise ModelLoadError(f"{label}: {index} {error}") from error


def safetensors_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Tensor → its shape, from the header of a safetensors file.

    Raises:
        ValueError: it is damaged, or shorter than its header says.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8).ljust(8, b"\0"))
        if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
            raise ValueError("damaged or cut short: it has no header of safetensors")
        try:
            header = json.loads(opened.read(length))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
            shapes = {name: tuple(map(int, entry["shape"])) for name, entry in tensors.items()}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"damaged: its header is not one of safetensors: {error}") from error
    if 8 + length + end != size:
        raise ValueError(f"cut short: it has {size:,} bytes, its header wants {8 + length + end:,}")
    return shapes


def check_weight_file(file: Path, pickled: bool, label: str) -> None:
    """Check that a file of weights is whole and holds tensors alone, by its size and header.

    Raises:
        ModelLoadError: what is wrong with it.
    """
    try:
        with file.open("rb") as opened:
            beginning = opened.read(len(POINTER))
    except OSError as error:
        raise ModelLoadError(f"{label}: {file.name} cannot be read: {error.strerror}") from error
    if not beginning:
        raise ModelLoadError(f"{label}: {file.name} is empty (0 bytes); copy or download it again")
    if beginning == POINTER:
        raise ModelLoadError(
            f"{label}: {file.name} is a Git LFS pointer, not the weights; run `git lfs pull` in its repository"
        )
    try:
        if not pickled:
            safetensors_shapes(file)
            return
        foreign = foreign_imports(file)
    except ValueError as error:
        raise ModelLoadError(f"{label}: {file.name}: {error}; copy or download it again") from error
    if foreign:
        shown = ", ".join(foreign[:_SHOWN_IMPORTS])
        raise ModelLoadError(
            f"{label}: {file.name} holds more than tensors ({shown}) and could run code when it is loaded, so it is "
            "not; save its state_dict alone, or as safetensors, in a place that you trust"
        )
