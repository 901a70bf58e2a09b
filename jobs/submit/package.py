"""What a submitted command takes along: the code, the small files that its options name, environment variables."""

from __future__ import annotations

import fnmatch
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from ray._private.runtime_env.packaging import _get_excludes

import vqa_ray
from vqa_ray.errors import RequestError
from vqa_ray.strict_yaml import StrictLoader

THIS, INSTALLED = "this", "installed"
_PACKAGE, _CACHE = "vqa_ray", "__pycache__"
# Ray uploads a working directory into the memory of its head.
_MAX_FILES_BYTES = 100 * 10**6
# Ray kills a stopped job after 3 s; a command needs up to 8 to unwind.
_STOP_ENVIRONMENT = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}


def runtime_environment(
    file: str | None, package: str, names: Iterable[str], files: Iterable[str], scratch: Path
) -> dict[str, Any]:
    """Compose Ray's runtime environment of a job.

    Args:
        file: YAML file of a runtime environment that the rest is added to.
        package: `this`, `installed` or a wheel.
        names: of environment variables, or patterns of names.
        files: relative paths of the files that the command reads.
        scratch: an empty directory, needed until the job is submitted.

    Raises:
        RequestError: a file or variable is missing or wrong.
    """
    environment = _read(file) if file else {}
    variables = environment.get("env_vars") or {}
    environment["env_vars"] = _STOP_ENVIRONMENT | variables | environment_variables(names)
    excludes, sent = environment.get("excludes") or [], []
    if package != INSTALLED:
        sent.append(_code(package, scratch / "code"))
        environment["py_modules"] = [str(sent[0]), *(environment.get("py_modules") or [])]
        environment["excludes"] = [_CACHE, *excludes]
    if files := list(files):
        if "working_dir" in environment:
            raise RequestError(f"{file}: working_dir: does not go with relative files in options ({', '.join(files)})")
        sent.append(_copied(files, scratch / "files"))
        environment["working_dir"] = str(sent[-1])
    _check_excludes(file, excludes, sent)
    return environment


def _check_excludes(file: str | None, patterns: Iterable[str], sent: Iterable[Path]) -> None:
    """Refuse patterns of a working directory that Ray would also leave our own files out by."""
    for pattern in patterns:
        for root in sent:
            is_left_out = _get_excludes(root, [pattern])
            # `jobs` and `pipelines` are links in an editable installation.
            for directory, _, names in os.walk(root, followlinks=True):
                for name in names:
                    path = Path(directory, name)
                    if _CACHE not in path.parts and is_left_out(path):
                        raise RequestError(
                            f"--runtime-env {file}: excludes: {pattern!r} also leaves out "
                            f"{path.relative_to(root.parent)}, which the command needs; begin it with / and the "
                            "directory that is meant"
                        )


def environment_variables(names: Iterable[str]) -> dict[str, str]:
    """Read the variables of this environment that the job gets.

    Raises:
        RequestError: none has such a name.
    """
    chosen: dict[str, str] = {}
    for pattern in names:
        found = fnmatch.filter(os.environ, pattern)
        if not found:
            hint = "; give the name, and set the variable here" if "=" in pattern else ""
            name = pattern.partition("=")[0]
            raise RequestError(f"--env {name}: no such environment variable is set here{hint}")
        chosen |= {name: os.environ[name] for name in found}
    return chosen


def _read(file: str) -> dict[str, Any]:
    try:
        environment = yaml.load(Path(file).read_text("utf-8"), StrictLoader)
    except OSError as error:
        raise RequestError(f"--runtime-env {file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"--runtime-env {file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(environment, dict):
        kind = type(environment).__name__
        raise RequestError(f"--runtime-env {file}: wanted a mapping such as `pip: [NAME]`, got {kind}")
    if not isinstance(environment.get("env_vars") or {}, dict):
        raise RequestError(f"--runtime-env {file}: env_vars: wanted a mapping of names to values")
    for name in ("excludes", "py_modules"):
        if not isinstance(environment.get(name) or [], list):
            raise RequestError(f"--runtime-env {file}: {name}: wanted a list")
    return environment


def _code(package: str, scratch: Path) -> Path:
    """Find the directory of the library: this installation's, or a wheel's, unpacked."""
    if package == THIS:
        return Path(vqa_ray.__file__).parent
    try:
        with zipfile.ZipFile(package) as wheel:
            members = [name for name in wheel.namelist() if name.startswith(f"{_PACKAGE}/")]
            if f"{_PACKAGE}/jobs/cli.py" not in members:
                raise RequestError(f"--package {package}: no wheel of vqa-ray")
            # zipfile keeps members below the directory.
            wheel.extractall(scratch, members)
    except OSError as error:
        hint = f"wanted {THIS}, {INSTALLED} or a wheel"
        raise RequestError(f"--package {package}: cannot be read: {error.strerror}; {hint}") from error
    except zipfile.BadZipFile as error:
        raise RequestError(f"--package {package}: no wheel of vqa-ray, but {error}") from error
    return scratch / _PACKAGE


def _copied(files: list[str], target: Path) -> Path:
    size = sum(Path(file).stat().st_size for file in files)
    if size > _MAX_FILES_BYTES:
        raise RequestError(
            f"{', '.join(files)}: {size / 1e6:.0f} MB to send along, at most {_MAX_FILES_BYTES / 1e6:.0f} MB; put them "
            "into a bucket"
        )
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file)
    return target
