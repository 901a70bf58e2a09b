"""The prompts of a teacher: the tasks, and which of several phrasings an image gets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vqa_ray.errors import RequestError, one_line
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.store_errors import refused
from vqa_ray.strict_yaml import StrictLoader
from vqa_ray.text_encoding import decode_text

Writes: TypeAlias = Literal["answer", "pairs", "object"]

MAX_FILE_BYTES = 2**20
QUESTION = "{question}"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    writes: Writes = "answer"
    questions: list[str] = []
    prompts: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tasks: dict[str, _Task]


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One way to ask.

    Attributes:
        id: `TASK/NUMBER`, the place in the file.
        question: what the user asks in the conversation; empty where the teacher writes it.
        prompt: what the teacher is asked.
    """

    id: str
    question: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a teacher.

    Attributes:
        name: of the task.
        writes: what its reply is, see `prompts.yaml`.
        phrasings: the ways to ask, at least one.
    """

    name: str
    writes: Writes
    phrasings: tuple[Phrasing, ...]

    def phrasing(self, row_id: int, seed: int) -> Phrasing:
        """Draw a phrasing for an image: the same one wherever and whenever the row is read."""
        digest = hashlib.blake2b(f"{seed} {row_id} {self.name}".encode(), digest_size=8).digest()
        return self.phrasings[int.from_bytes(digest) % len(self.phrasings)]


def shipped_prompts() -> str:
    """Return the text of the prompts that come with the package."""
    return resources.files("vqa_ray.instruct").joinpath("prompts.yaml").read_text("utf-8")


def load_tasks(uri: str | None) -> dict[str, Task]:
    """Read the tasks of a prompts file, by name.

    Args:
        uri: of the file; None for the shipped one.

    Raises:
        RequestError: it cannot be read, or a task lacks questions or prompts.
    """
    label = f"--prompts {uri}"
    if uri is None:
        text = shipped_prompts()
    else:
        with refused(f"{label}: cannot be read"):
            text = decode_text(read_bytes(uri, MAX_FILE_BYTES))
    try:
        found = _File.model_validate(yaml.load(text, StrictLoader))
    except yaml.YAMLError as error:
        raise RequestError(f"{label}: not YAML: {one_line(error, 160)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        reason = f"{where}: {one_line(first['msg'])}; --print-prompts prints a file of this form"
        raise RequestError(f"{label}: {reason}") from error
    if not found.tasks:
        raise RequestError(f"{label}: holds no task")
    return {name: _task(name, task, f"{label}: task {name}") for name, task in found.tasks.items()}


def _task(name: str, task: _Task, where: str) -> Task:
    if not _NAME.fullmatch(name):
        raise RequestError(f"{where}: a name is of small letters, digits and _, and begins with a letter")
    if not all(text.strip() for text in (*task.questions, *task.prompts)):
        raise RequestError(f"{where}: one of its texts is blank")
    if task.writes == "pairs":
        if task.questions or not task.prompts:
            raise RequestError(f"{where}: writes pairs, its own questions: wanted prompts, and no questions")
        pairs: Sequence[tuple[str, str]] = [("", prompt.strip()) for prompt in task.prompts]
    else:
        if not task.questions:
            raise RequestError(f"{where}: writes an {task.writes}: wanted questions, which the conversation holds")
        if task.writes == "object" and task.prompts:
            raise RequestError(f"{where}: writes an object, asked by its questions and --schema; wanted no prompts")
        prompts = task.prompts or [QUESTION]
        stripped = [question.strip() for question in task.questions]
        pairs = [(text, prompt.strip().replace(QUESTION, text)) for prompt in prompts for text in stripped]
    phrasings = (Phrasing(f"{name}/{i}", *pair) for i, pair in enumerate(pairs, start=1))
    return Task(name, task.writes, tuple(phrasings))


def choose_tasks(tasks: dict[str, Task], names: str | None, *, has_schema: bool) -> tuple[Task, ...]:
    """Choose the tasks of a command.

    Args:
        tasks: those there are.
        names: as given, separated by commas; None for all that need no schema, or all where there is one.
        has_schema: whether a schema of objects is given.

    Raises:
        RequestError: an unknown name, one given twice, or a task that needs a schema, or a schema that none needs.
    """
    if names is None:
        chosen = [task for task in tasks.values() if has_schema or task.writes != "object"]
    else:
        given = [name.strip() for name in names.split(",") if name.strip()]
        unknown = next((name for name in given if name not in tasks), None)
        if unknown is not None or not given:
            raise RequestError(f"--tasks {names}: unknown task {unknown!r}; known are {', '.join(tasks)}")
        twice = next((name for name in given if given.count(name) > 1), None)
        if twice is not None:
            raise RequestError(f"--tasks {names}: {twice} is given twice")
        chosen = [tasks[name] for name in given]
    objects = [task.name for task in chosen if task.writes == "object"]
    if objects and not has_schema:
        raise RequestError(f"--tasks: {objects[0]} writes an object; name its fields with --schema FILE")
    if has_schema and not objects:
        raise RequestError("--schema: none of the tasks writes an object; add one with --tasks, such as attributes")
    return tuple(chosen)


def fingerprint_of_tasks(tasks: Sequence[Task]) -> str:
    """Return a hash of all that can change a prompt."""
    return hashlib.sha256(repr(tuple(tasks)).encode()).hexdigest()[:16]
