"""The fingerprint of a checkpoint, computed in less than a second for any size. No torch."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.weight_files import find_weights

_SAMPLE_BYTES = 1 << 20
_SAMPLES = 16


def fingerprint(directory: Path, contents: Mapping[str, bytes] = MappingProxyType({})) -> str:
    """Compute SHA-256 over the small files, and over the header, size and evenly spread samples of each weights file.

    A pickle contributes its end in place of a header, a LoRA adapter its base model too. Sampling keeps this under a
    second for any model; a change stays undetected only if header, size and all samples are equal.

    Args:
        directory: of the checkpoint.
        contents: file name → contents, of small files that were read already.
    """
    digest = hashlib.sha256()
    small = (sorted(directory.glob(pattern)) for pattern in ("*.json", "*.txt", "*.jinja", "*.model"))
    for path in itertools.chain.from_iterable(small):
        digest.update(path.name.encode() + b"\0")
        digest.update(contents[path.name] if path.name in contents else path.read_bytes())
    adapter = adapter_of(directory)
    for path in (*find_weights(directory).files, *(sorted(adapter.iterdir()) if adapter else ())):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            if path.suffix == ".safetensors":
                (header,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
                digest.update(file.read(min(header, size)))
            else:
                # The end of a pickle holds the checksums of its tensors.
                file.seek(max(0, size - _SAMPLE_BYTES))
                digest.update(file.read())
            for sample in range(_SAMPLES):
                file.seek(size * sample // _SAMPLES)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
