"""A model whose answers come from a cache where it holds them; the model is loaded for the first that it lacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, TypeAlias, cast

from vqa_ray.cache.answer_cache import AnswerCache
from vqa_ray.cache.entries import CacheUsage, Entry
from vqa_ray.cache.keys import image_keys, question_key
from vqa_ray.cache.values import Result, from_json, is_sound, to_json
from vqa_ray.errors import ModelLoadError, RequestError, one_line
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.models.protocols import GenerativeModel, VqaModel
from vqa_ray.structured.grammar import LAYOUT
from vqa_ray.types import Answer, ChoiceScores, ImageOrImages, Turn, WrittenObject

# Of images, and of the questions of each.
_Ask: TypeAlias = Callable[[GenerativeModel, list[int], list[list[int]]], Sequence[Sequence[Result]]]


class CachedModel:
    """Implements `GenerativeModel`, as far as the model behind it does; its other attributes show through.

    Args:
        load: loads the model.
        label: names the model in messages.
        cache: where answers are found, and collected.
        context: of the model and its options, see `vqa_ray.cache.keys.context_key`.
        vocabulary: of the model; None where it writes its answers.
    """

    def __init__(
        self,
        load: Callable[[], VqaModel],
        label: str,
        cache: AnswerCache,
        context: str,
        vocabulary: AnswerVocabulary | None,
    ) -> None:
        self._load, self._label = load, label
        self._cache, self._context = cache, context
        self._vocabulary = vocabulary
        self._choices: dict[str, None] = {}
        self.inner_or_none: GenerativeModel | None = None
        # Two calls at a time, as vLLM takes them, load one engine.
        self._loading = Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._model(), name)

    def known_choices(self, choices: Sequence[str]) -> list[bool]:
        """See `VqaModel.known_choices`; the choices of a model that writes are checked when it is loaded."""
        if self._vocabulary is not None:
            return self._vocabulary.known_choices(choices)
        self._choices |= dict.fromkeys(choices)
        return [bool(choice.strip()) for choice in choices]

    def answer(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        top_k: int,
        *,
        contexts: Sequence[Sequence[Sequence[Turn]]] | None = None,
    ) -> list[list[Answer]]:
        """See `GenerativeModel.answer`."""
        before = contexts or [[()] * len(asked) for asked in questions]
        keys = [
            [question_key("answer", text, top_k, tuple(turns)) for text, turns in zip(asked, said, strict=True)]
            for asked, said in zip(questions, before, strict=True)
        ]

        def ask(model: GenerativeModel, rows: list[int], numbers: list[list[int]]) -> list[list[Answer]]:
            more = {} if contexts is None else {"contexts": _chosen(contexts, rows, numbers)}
            return model.answer([images[row] for row in rows], _chosen(questions, rows, numbers), top_k, **more)

        return cast("list[list[Answer]]", self._through(images, keys, ask))

    def score(
        self,
        images: Sequence[ImageOrImages],
        questions: Sequence[Sequence[str]],
        choices: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[ChoiceScores]]:
        """See `VqaModel.score`."""
        keys = [
            [question_key("score", text, tuple(offered)) for text, offered in zip(asked, each, strict=True)]
            for asked, each in zip(questions, choices, strict=True)
        ]

        def ask(model: GenerativeModel, rows: list[int], numbers: list[list[int]]) -> list[list[ChoiceScores]]:
            shown: list[Any] = [images[row] for row in rows]
            return model.score(shown, _chosen(questions, rows, numbers), _chosen(choices, rows, numbers))

        return cast("list[list[ChoiceScores]]", self._through(images, keys, ask))

    def caption(self, images: Sequence[ImageOrImages], prompt: str | None) -> list[Answer]:
        """See `GenerativeModel.caption`."""

        def ask(model: GenerativeModel, rows: list[int], numbers: list[list[int]]) -> list[list[Answer]]:
            shown: list[Any] = [images[row] for row in rows]
            return [[each] for each in model.caption(shown, prompt)]

        found = self._through(images, [[question_key("caption", prompt)]] * len(images), ask)
        return [cast("Answer", answer) for (answer,) in found]

    def fill(
        self, images: Sequence[ImageOrImages], prompts: Sequence[str], schema: Mapping[str, Any]
    ) -> list[WrittenObject]:
        """See `StructuredModel.fill`; of a model that is one."""
        wanted = json.dumps([schema, LAYOUT])

        def ask(model: Any, rows: list[int], numbers: list[list[int]]) -> list[list[WrittenObject]]:
            written = model.fill([images[row] for row in rows], [prompts[row] for row in rows], schema)
            return [[each] for each in written]

        found = self._through(images, [[question_key("fill", prompt, wanted)] for prompt in prompts], ask)
        return [cast("WrittenObject", written) for (written,) in found]

    def _through(
        self, images: Sequence[ImageOrImages], questions: Sequence[Sequence[bytes]], ask: _Ask
    ) -> list[list[Result]]:
        """Take from the cache what it holds, and ask for the rest, each pair of pixels and question once."""
        keys = [
            [image + question for question in asked]
            for image, asked in zip(image_keys(list(images)), questions, strict=True)
        ]
        entries = self._cache.find(self._context, {key for of_image in keys for key in of_image})
        results = {key: from_json(entry.value) for key, entry in entries.items()}
        missing: dict[bytes, tuple[int, int]] = {}
        for row, of_image in enumerate(keys):
            for number, key in enumerate(of_image):
                if key not in results:
                    missing.setdefault(key, (row, number))
        new: dict[bytes, Entry] = {}
        if missing:
            numbers: dict[int, list[int]] = {}
            for row, number in missing.values():
                numbers.setdefault(row, []).append(number)
            model = self._model()
            begun = time.monotonic()
            answered = ask(model, list(numbers), list(numbers.values()))
            seconds = (time.monotonic() - begun) / len(missing)
            fresh = dict(zip(missing, (result for of_image in answered for result in of_image), strict=True))
            results |= fresh
            new = {key: Entry(to_json(result), seconds) for key, result in fresh.items() if is_sound(result)}
        spent = {**entries, **new}
        total = sum(map(len, keys))
        saved = sum(spent[key].seconds for of_image in keys for key in of_image if key in spent)
        saved -= sum(entry.seconds for entry in new.values())
        self._cache.record(self._context, new, CacheUsage(total - len(missing), len(missing), saved))

        def result(row: int, number: int, key: bytes) -> Result:
            # The second of two equal questions took nothing.
            is_repeated = key in new and missing[key] != (row, number)
            return from_json(new[key].value) if is_repeated else results[key]

        return [[result(row, number, key) for number, key in enumerate(asked)] for row, asked in enumerate(keys)]

    def _model(self) -> GenerativeModel:
        with self._loading:
            if self.inner_or_none is None:
                self.inner_or_none = self._loaded()
            return self.inner_or_none

    def _loaded(self) -> GenerativeModel:
        try:
            model = self._load()
        except RequestError:
            raise
        except Exception as error:
            # Of no row: a stage would take it for an error of the rows that it asked about.
            raise ModelLoadError(f"{self._label}: cannot be loaded: {one_line(error)}") from error
        choices = list(self._choices)
        for choice, known in zip(choices, model.known_choices(choices), strict=True):
            if not known:
                raise RequestError(f"{self._label}: cannot answer {choice!r}: it has no token for it")
        return cast("GenerativeModel", model)


def _chosen(cells: Sequence[Sequence[Any]], rows: Sequence[int], numbers: Sequence[Sequence[int]]) -> list[list[Any]]:
    """Return the cells of these questions of these images."""
    return [[cells[row][number] for number in asked] for row, asked in zip(rows, numbers, strict=True)]
