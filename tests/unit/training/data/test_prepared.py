"""What a training learns of labelled rows, decided without reading any."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.labelled import labelled
from vqa_ray.errors import RequestError
from vqa_ray.models.answer_vocabulary import AnswerVocabulary
from vqa_ray.training.config import CONTRASTIVE, VQA
from vqa_ray.training.data.labelled_rows import LabelledRows
from vqa_ray.training.data.prepared import (
    DataConfig,
    LabelledPart,
    choose_vocabulary,
    data_notes,
    prepare,
    split_validation,
    vocabulary_note,
)
from vqa_ray.training.data.schedule import ScheduleConfig

ANSWERS = DataConfig(VQA, 0.5, seed=0)
CAPTIONS = DataConfig(CONTRASTIVE, 0.5, seed=0)
COLOURS = labelled(*[["red"]] * 6, *[["blue"]] * 4, *[["mauve"]] * 1, [])
NOTHING = COLOURS.take(np.arange(0))


def part(rows: LabelledRows, uri: str, *, is_own_input: bool = True) -> LabelledPart:
    return LabelledPart(uri, rows, lambda key: f"row {key}", is_own_input)


def test_a_part_of_the_images_is_validated_on_where_no_rows_are_given() -> None:
    rows, validation = split_validation(COLOURS, None, ANSWERS, "in")
    assert {*rows.keys.tolist(), *validation.keys.tolist()} == set(COLOURS.keys.tolist())
    assert 0 < len(validation) < len(COLOURS)
    given = labelled(["red"])
    assert split_validation(COLOURS, given, ANSWERS, "in") == (COLOURS, given)


@pytest.mark.parametrize(("config", "word"), [(ANSWERS, "answers"), (CAPTIONS, "captions")])
def test_rows_to_validate_on_without_a_label_are_refused(config: DataConfig, word: str) -> None:
    with pytest.raises(RequestError, match=f"^held: no rows with {word} to validate on$"):
        split_validation(COLOURS, labelled([], []), config, "held")


def test_the_vocabulary_is_given_or_made_of_the_rows() -> None:
    made = choose_vocabulary(COLOURS, ANSWERS, "in")
    assert made is not None
    assert made.labels == ("red", "blue", "mauve")
    given = AnswerVocabulary(["blue", "red"])
    assert choose_vocabulary(COLOURS, DataConfig(VQA, 0.5, 0, vocabulary=given), "in") is given
    assert choose_vocabulary(COLOURS, CAPTIONS, "in") is None
    with pytest.raises(RequestError, match=r"^in: none of the 2 rows to train on has a caption$"):
        choose_vocabulary(labelled([], []), CAPTIONS, "in")


def test_rows_without_a_learnt_answer_are_left_out_of_the_schedule() -> None:
    vocabulary = AnswerVocabulary(["red", "blue"])
    prepared = prepare(COLOURS, NOTHING, vocabulary, ScheduleConfig(batch_size=4))
    assert (prepared.answers, len(prepared.schedule), prepared.schedule.steps_per_epoch) == (2, 10, 3)
    assert prepared.texts == COLOURS.questions.to_pylist()
    captions = prepare(COLOURS, NOTHING, None, ScheduleConfig(batch_size=4))
    assert (captions.answers, len(captions.schedule)) == (0, 11)
    assert captions.texts == [caption for each in COLOURS.answers.to_pylist() for caption in each]


def test_notes_name_rows_and_words_that_teach_nothing() -> None:
    vocabulary = AnswerVocabulary(["red", "blue", "gold"])
    training, validation = part(COLOURS, "in"), part(labelled(["green"]), "in (validation)", is_own_input=False)
    notes = data_notes(training, validation, vocabulary, "words.txt")
    assert [note.split(":")[0] for note in notes] == ["in", "in", "in (validation)", "--vocabulary words.txt"]
    assert "have no answer and are left out" in notes[0] or "has no answer" in notes[0]
    assert "are not trained on: 'mauve'" in notes[1]
    assert "count as wrong: 'green'" in notes[2]
    assert "'gold'" in notes[3]


def test_a_note_says_which_answers_are_too_rare() -> None:
    vocabulary = AnswerVocabulary(["red", "blue"])
    prepared = prepare(COLOURS, NOTHING, vocabulary, ScheduleConfig(batch_size=4))
    config = DataConfig(VQA, 0.5, 0, min_answer_count=2)
    assert "1 rarer ones are left out: 'mauve'" in vocabulary_note(prepared, config)
    assert vocabulary_note(prepared, DataConfig(VQA, 0.5, 0, vocabulary=vocabulary)) == ""
