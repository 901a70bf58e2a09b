"""The stage of a teacher, which writes conversations about images: DECODED tables in, packed INSTRUCT tables out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from vqa_ray import schema
from vqa_ray.conversation.conversation import IMAGE_MARKER, Conversation, Turn, cells_of, with_markers
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.instruct.filters import Filters
from vqa_ray.instruct.form import instruct_schema
from vqa_ray.instruct.prompts import Phrasing, Task
from vqa_ray.instruct.replies import Pair, parse_pairs
from vqa_ray.models.generation.config import join_warnings
from vqa_ray.models.load import ModelOptions
from vqa_ray.models.protocols import GenerativeModel, StructuredModel
from vqa_ray.row_text.template import word
from vqa_ray.stages.answer import validate_answer
from vqa_ray.stages.model_stage import assemble, bisect_failures, image_groups, kept_fields, row_texts
from vqa_ray.stages.prepare import EMBEDDED
from vqa_ray.stages.questions import OF_QUESTION, PACKED, QuestionUnit, pack, packed_schema, question_units
from vqa_ray.stages.usage import usage_cells, with_usage
from vqa_ray.structured.filled import read_object
from vqa_ray.structured.object_schema import ObjectSchema
from vqa_ray.structured.prompt import object_prompt
from vqa_ray.types import FinishReason, ImageOrImages, Usage, WrittenObject

# The columns of an output that differ between the tasks of an image.
OF_TASK = (*OF_QUESTION, "task", "prompt_id", "prompt", "reply", "conversation", "agreement")


@dataclass(frozen=True, slots=True)
class InstructConfig:
    """Configuration of `InstructStage`.

    Attributes:
        model: the teacher, a generative model, and how to load it.
        tasks: of the teacher; the questions of rows are their names.
        filters: what a reply must be.
        seed: of the choice among phrasings.
        schema: of the objects that a task writes; None where none does.
        context: lines that follow each prompt, with places for columns; empty for none.
        shows_images: whether the teacher sees the images.
        excluded: `image_key`s of images that nothing may be written about.
        agreement: a second model is asked afterwards.
    """

    model: ModelOptions
    tasks: tuple[Task, ...]
    filters: Filters = field(default_factory=Filters)
    seed: int = 0
    schema: ObjectSchema | None = None
    context: str = ""
    shows_images: bool = True
    excluded: frozenset[int] = frozenset()
    agreement: bool = False

    def prompt(self, phrasing: Phrasing) -> str:
        """Return what the teacher is asked, with places for columns."""
        return f"{phrasing.prompt}{self.context}"

    def question(self, task: Task, phrasing: Phrasing) -> str:
        """Return what the user asks in the conversation; empty where the teacher writes it."""
        if task.writes != "object":
            return phrasing.question
        assert self.schema is not None
        return object_prompt(self.schema, phrasing.question)

    def templates(self) -> list[str]:
        """Return all texts that may name columns."""
        return [self.prompt(phrasing) for task in self.tasks for phrasing in task.phrasings]


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str
    finish_reason: FinishReason | None
    warning: str | None
    usage: Usage | None
    object: WrittenObject | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """What a teacher is asked about a row: the place of the question, the task, and the words."""

    unit: QuestionUnit
    task: Task
    phrasing: Phrasing
    question: str
    prompt: str


class InstructStage:
    """A `map_batches` callable that holds one loaded teacher; an image that several rows show goes once.

    Args:
        config: see `InstructConfig`.
        attempt: the number of times these rows have been tried, this one included.

    Raises:
        ModelLoadError: the model cannot be loaded.
    """

    def __init__(self, config: InstructConfig, attempt: int = 1) -> None:
        self._config, self._attempt = config, attempt
        self._model: Any = config.model.load()
        form = instruct_schema(agreement=config.agreement)
        self._form = with_usage(form) if config.model.reports_usage else form
        self._tasks = {task.name: task for task in config.tasks}
        self._fingerprint = config.model.checkpoint.fingerprint

    def __call__(self, table: pa.Table) -> pa.Table:
        """Write about a DECODED table (with kept columns): as many rows, in the same order."""
        requests = list(self._requests(table))
        keys = table["image_key"].to_pylist()
        failures: dict[int, RowError] = {}
        for number, request in enumerate(requests):
            if keys[request.unit.row] in self._config.excluded:
                reason = "the image is one of --exclude-images"
                failures[number] = RowError(ErrorCode.FILTERED_EXCLUDED, reason)

        def write(numbers: list[int]) -> list[_Reply]:
            return self._write(table, [requests[number] for number in numbers])

        replies, failed = bisect_failures(write, [n for n in range(len(requests)) if n not in failures])
        failures |= failed
        asked: dict[int, list[str]] = {}
        outcomes: dict[tuple[int, int], dict[str, Any]] = {}
        for number, request in enumerate(requests):
            cells: dict[str, Any] = {
                "task": request.task.name,
                "prompt_id": request.phrasing.id,
                "prompt": request.prompt,
            }
            if number in failures:
                cells |= schema.error_cells(failures[number])
            else:
                cells |= self._outcome(request, replies[number], asked.setdefault(request.unit.row, []))
            outcomes[request.unit.row, request.unit.indices[0]] = cells
        form = schema.with_kept(self._form, [each for each in kept_fields(table) if each.name != EMBEDDED])
        columns: dict[str, Any] = {
            PACKED: self._packed(table, outcomes),
            "image": table[EMBEDDED],
            **{name: dict.fromkeys(range(table.num_rows), value) for name, value in self._provenance().items()},
        }
        return assemble(packed_schema(form, OF_TASK), table, columns, {}, self._attempt)

    def _provenance(self) -> dict[str, Any]:
        reference = self._config.model.reference
        return {"teacher": reference, "teacher_fingerprint": self._fingerprint, "seed": self._config.seed}

    def _packed(self, table: pa.Table, outcomes: dict[tuple[int, int], dict[str, Any]]) -> dict[int, Any]:
        """Pack the outcomes; a row in error has one for each task."""
        packed = pack(table, outcomes)
        for cells in packed.values():
            for cell in cells:
                cell["task"] = cell["question"]
        return packed

    def _requests(self, table: pa.Table) -> Iterator[_Request]:
        texts, row_ids = row_texts(table), table["row_id"].to_pylist()
        names = table["questions"].to_pylist()
        for unit in question_units(names, schema.ok_rows(table).tolist(), apart=True):
            task = self._tasks[names[unit.row][unit.indices[0]]]
            phrasing = task.phrasing(row_ids[unit.row], self._config.seed)
            question = self._config.question(task, phrasing)
            prompt = question + self._config.context if task.writes == "object" else self._config.prompt(phrasing)
            yield _Request(unit, task, phrasing, word(question, {}), word(prompt, texts[unit.row]))

    def _write(self, table: pa.Table, requests: Sequence[_Request]) -> list[_Reply]:
        """Ask the teacher; every distinct image goes to it once, and once more for each object."""
        groups = image_groups(table, sorted({request.unit.row for request in requests}))
        shown: list[ImageOrImages] = [group.shown if self._config.shows_images else () for group in groups]
        of_row = {row: number for number, group in enumerate(groups) for row in group.rows}
        texts: dict[int, list[int]] = {}
        objects: list[int] = []
        for number, request in enumerate(requests):
            if request.task.writes == "object":
                objects.append(number)
            else:
                texts.setdefault(of_row[request.unit.row], []).append(number)
        replies: dict[int, _Reply] = {}
        if texts:
            prompts = [[requests[number].prompt for number in numbers] for numbers in texts.values()]
            model = cast("GenerativeModel", self._model)
            answers = model.answer([shown[group] for group in texts], prompts, 1)
            for numbers, of_image in zip(texts.values(), answers, strict=True):
                for number, each in zip(numbers, map(validate_answer, of_image), strict=True):
                    replies[number] = _Reply(each.answers[0][0], each.finish_reason, each.warning, each.usage)
        if objects:
            assert self._config.schema is not None
            images = [shown[of_row[requests[number].unit.row]] for number in objects]
            asked = [requests[number].prompt for number in objects]
            made = cast("StructuredModel", self._model).fill(images, asked, self._config.schema.wire)
            for number, found in zip(objects, made, strict=True):
                replies[number] = _Reply(found.text, found.finish_reason, found.warning, found.usage, found)
        return [replies[number] for number in range(len(requests))]

    def _outcome(self, request: _Request, reply: _Reply, asked: list[str]) -> dict[str, Any]:
        """Return the cells of a reply: a conversation, or why it is none."""
        cells: dict[str, Any] = {"reply": reply.text, "finish_reason": reply.finish_reason, **usage_cells(reply.usage)}
        try:
            pairs, note = self._pairs(request, reply, asked)
            if any(IMAGE_MARKER in answer for _, answer in pairs):
                raise RowError(ErrorCode.REPLY_MALFORMED, f"the reply holds {IMAGE_MARKER}, which stands for an image")
        except RowError as error:
            return {**cells, **schema.error_cells(error), "warning": reply.warning}
        turns = [turn for question, answer in pairs for turn in (Turn("user", question), Turn("assistant", answer))]
        turns[0] = Turn("user", with_markers(turns[0].text, 1))
        conversation = cells_of(Conversation(None, tuple(turns), 1))
        return {**cells, "conversation": conversation, "warning": join_warnings(reply.warning, note)}

    def _pairs(self, request: _Request, reply: _Reply, asked: list[str]) -> tuple[list[Pair], str | None]:
        filters = self._config.filters
        is_cut = reply.finish_reason == "length"
        if reply.object is not None:
            assert self._config.schema is not None
            read_object(self._config.schema, reply.object)
            # As a model writes it that is held to the schema: compact, null for what is left out.
            return [
                (request.question, json.dumps(json.loads(reply.text), ensure_ascii=False, separators=(",", ":")))
            ], None
        if request.task.writes == "pairs":
            pairs, note = parse_pairs(reply.text, is_cut=is_cut)
            filters.check(pairs)
            kept, left_out = filters.distinct(pairs, asked)
            return kept, join_warnings(note, left_out)
        if is_cut:
            raise RowError(ErrorCode.FILTERED_LENGTH, "the reply was cut at --max-new-tokens")
        pairs = [(request.question, reply.text.strip())]
        if not reply.text.strip():
            raise RowError(ErrorCode.REPLY_MALFORMED, "the teacher wrote nothing")
        filters.check(pairs)
        return pairs, None
