"""The imports of a pickle of weights, found without loading it. No torch.

`torch.load(weights_only=True)` refuses code by itself, but needs torch; this check runs before any worker starts.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

# What tensors are made of, as torch's own reader has it (torch/_weights_only_unpickler.py); all else needs code.
_MODULES = {"torch", "torch.storage", "torch._utils", "torch._tensor", "torch.nn.parameter", "torch.serialization"}
_NAMES = {
    "collections OrderedDict",
    "collections Counter",
    "_codecs encode",
    *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("bytearray", "set", "complex")),
}
# The pickles of the layout before torch 1.6: a magic number, a protocol, the platform, the tensors.
_OLD_PICKLES = 4


def foreign_imports(path: Path) -> list[str]:
    """Return the names a weights file would import beyond those of tensors, as `module.name`, sorted.

    Raises:
        ValueError: it is neither layout of `torch.save`, or damaged.
    """
    try:
        if _begins_as_zip(path):
            with zipfile.ZipFile(path) as archive:
                pickle = next((name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]), None)
                if pickle is None:
                    raise ValueError("it holds no data.pkl")
                with archive.open(pickle) as file:
                    found = set(_imports(file))
        else:
            with path.open("rb") as file:
                found = {name for _ in range(_OLD_PICKLES) for name in _imports(file)}
    except (zipfile.BadZipFile, EOFError, LookupError, ValueError) as error:
        raise ValueError(f"damaged, cut short, or not written by torch.save ({error})") from error
    return sorted(name.replace(" ", ".") for name in found if not _is_tensors(name))


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _is_tensors(name: str) -> bool:
    module = name.partition(" ")[0]
    return name in _NAMES or module in _MODULES


def _imports(file: IO[bytes]) -> Iterator[str]:
    """Yield `module name` of each import of the pickle that begins where `file` stands; leaves it behind the pickle."""
    strings: list[str] = []
    memo: dict[Any, str] = {}
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif operation.name == "STACK_GLOBAL":
            yield " ".join(strings[-2:])
        elif "UNICODE" in operation.name or operation.name.endswith("STRING"):
            strings.append(str(argument))
        elif operation.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = strings[-1] if strings else ""
        elif operation.name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(argument, ""))
