"""The page of a training: escaped, self-contained, and complete."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.report.test_gallery import FRAGMENTS, Page
from tests.unit.report.trained import MARKUP, log, trained
from vqa_ray.durations import duration
from vqa_ray.report.training_page import elided, facts, heat_rows, render_training, write_training
from vqa_ray.report.training_summary import Confusion
from vqa_ray.training.log import StepRecord, TrainingLog, ValidationRecord


def test_shows_what_came_of_it() -> None:
    page = Page(render_training(trained("shelf-vilt")))
    for shown in (
        "shelf-vilt",
        "80.0 %",
        "step 40 (epoch 4)",
        "1,000",
        "300",
        "41",
        "2 min 05 s",
        "32",
        "Loss per row",
        "Validation accuracy",
        "Learning rate",
        "1,234",
        "vqa-ray finetune --input shelf-vilt",
        "number",
        "40.0 %",
    ):
        assert shown in page.text, shown
    assert [chart["role"] for chart in page.all("svg")] == ["img"] * 3


def test_lines_of_the_command_end_between_words() -> None:
    command = ["vqa-ray", "finetune", "--learning-rate", "1e-4", "--input", "my photos/"]
    page = render_training(replace(trained(), command=command))
    words = ("vqa-ray", "finetune", "--learning-rate", "1e-4", "--input", "&#39;my photos/&#39;")
    assert f"<pre><code>{' '.join(f'<span>{word}</span>' for word in words)}</code></pre>" in page
    assert "\npre span { display: inline-block; max-width: 100%; }\n" in page
    assert "vqa-ray finetune --learning-rate 1e-4 --input 'my photos/'" in Page(page).text


def test_every_chart_is_told_in_words() -> None:
    page = Page(render_training(trained()))
    named = {attributes.get("id") for name in ("title", "desc") for attributes in page.all(name)}
    for chart in page.all("svg"):
        words = (chart["aria-labelledby"] or "").split()
        assert len(words) == 2
        assert set(words) <= named
    assert "training: from 40 at 1 to 1 at 40" in page.text


def test_markup_is_text_wherever_it_stands() -> None:
    page, plain = Page(render_training(trained(MARKUP))), Page(render_training(trained("x" * len(MARKUP))))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text.count(MARKUP) >= 10
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.characters()), min_size=1, max_size=8).map("".join))
def test_any_text_leaves_the_elements_as_they_are(text: str) -> None:
    # An answer type that is called as another one is the other one.
    kind = f"{text} type"
    page = Page(render_training(trained(text, log=log(kind=kind))))
    plain = Page(render_training(trained("x", log=log(kind=kind))))
    without_tooltips = [
        [(tag, sorted(set(attributes) - {"title"})) for tag, attributes in each.elements] for each in (page, plain)
    ]
    assert without_tooltips[0] == without_tooltips[1]


def test_needs_nothing_beside_itself() -> None:
    page = render_training(trained())
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"https?://|url\(|@import", page)
    parsed = Page(page)
    assert not any(parsed.all(name) for name in ("link", "iframe", "script", "img", "object"))


def test_credentials_are_not_shown() -> None:
    uri = "s3://key:secret@bucket/rows.parquet"
    made = trained()
    command = [
        "vqa-ray",
        "finetune",
        f"--input={uri}",
        "--validation",
        "https://h/x.parquet?X-Amz-Signature=signed",
        "a b",
    ]
    data = replace(made.data, uri=uri, validation=uri)
    page = render_training(
        replace(made, data=data, command=command, start=uri, recipe={"vocabulary": uri}, notes=(uri,))
    )
    assert "secret" not in page
    assert "signed" not in page
    assert "on s3://bucket/rows.parquet" in page
    line = "vqa-ray finetune --input=s3://bucket/rows.parquet --validation https://h/x.parquet 'a b'"
    assert line in Page(page).text


def test_a_training_without_validation() -> None:
    made = TrainingLog()
    made.add_step(StepRecord(1, 0, 2.0, 1e-4, 8, 0.5, 1.0))
    page = Page(render_training(trained(log=made, confusion=None, data=replace(trained().data, skipped=()))))
    assert "were not validated" in page.text
    assert "Nothing: every row was read" in page.text
    assert "Confusion" not in page.text
    assert len(page.all("svg")) == 2
    assert not re.search(r"nan|None|Undefined", page.text)
    empty = Page(render_training(trained(log=TrainingLog(), confusion=None)))
    assert empty.all("svg") == []


def test_the_exported_weights_are_judged_and_better_ones_are_told() -> None:
    made = log()
    made.add_validation(ValidationRecord(50, 4, 1.0, 0.2, 300))
    names = {fact.name: fact.value for fact in facts(trained(log=made, exported_step=40))}
    assert names["validation accuracy, step 40 (epoch 4)"] == "80.0 %"
    names = {fact.name: fact.value for fact in facts(trained(log=made, exported_step=50))}
    assert names["validation accuracy, step 50 (epoch 5)"] == "20.0 %"
    assert names["best on the way, at step 40"] == "80.0 %"


def test_many_answer_types_are_not_more_than_colours() -> None:
    made = log()
    kinds = {f"type {number}": 0.5 for number in range(30)}
    made.add_validation(ValidationRecord(50, 4, 1.0, 0.2, 300, kinds, dict.fromkeys(kinds, 10)))
    page = Page(render_training(trained(log=made, exported_step=50)))
    assert {"class": "s7"} in page.all("li")
    assert {"class": "s8"} not in page.all("li")
    assert page.text.count("type 29") == 1


def test_confusion_counts_and_shares() -> None:
    confusion = Confusion(("yes", "no", "a very long answer indeed"), np.array([[90, 10, 0], [1, 2, 1], [0, 0, 0]]))
    first, second, third = heat_rows(confusion)
    assert [(cell.count, cell.share, cell.right) for cell in first.cells] == [
        (90, 0.9, True),
        (10, 0.1, False),
        (0, 0.0, False),
    ]
    assert second.cells[0].text == "no, answered yes: 1 of 4"
    assert (third.answer.short, third.answer.full) == ("a very long ans…", "a very long answer indeed")
    assert all(cell.share == 0 for cell in third.cells)
    assert heat_rows(None) == []


@pytest.mark.parametrize("others", [0, 1])
def test_answers_beyond_the_table_are_counted_as_others(others: int) -> None:
    confusion = Confusion(("a", "b", "c"), np.arange(9 + 3 * others).reshape(3, 3 + others))
    rows = heat_rows(confusion, limit=2)
    assert [row.total for row in rows] == [int(total) for total in confusion.counts.sum(axis=1)[:2]]
    assert [[cell.count for cell in row.cells] for row in rows] == [
        [*map(int, line[:2]), int(line[2:].sum())] for line in confusion.counts[:2]
    ]
    assert rows[0].cells[2].text.startswith("a, answered another answer: ")
    assert not rows[0].cells[2].right


def test_a_confusion_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"of 2 answers has counts of shape \(3, 3\)"):
        Confusion(("a", "b"), np.zeros((3, 3), np.int64))


def test_long_answers_are_elided_and_told_in_full() -> None:
    long = "a very long answer that someone gave"
    page = Page(render_training(trained(confusion=Confusion(("yes", long), np.eye(2, dtype=np.int64)))))
    titles = [attributes.get("title") for attributes in page.all("th") + page.all("span")]
    assert titles.count(long) == 2
    assert "a very long ans…" in page.text
    assert [elided(text) for text in ("short", "two\n lines", "", "x" * 17)] == [
        "short",
        "two lines",
        "(empty)",
        "x" * 15 + "…",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3_725, "1 h 02 min"), (7.2e6, "2,000 h 00 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_writes_one_file(tmp_path: Path) -> None:
    write_training(str(tmp_path / "training.html"), trained("a lone surrogate \ud800 in a name"))
    assert "a lone surrogate ? in a name" in (tmp_path / "training.html").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["training.html"]
