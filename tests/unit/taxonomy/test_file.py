"""Reading tags.yaml: every wrong file is one line with the place, what was given and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_ray.errors import RequestError
from vqa_ray.taxonomy.file import load_taxonomy, parse_taxonomy

GOOD = """
attributes:
  - name: category
    question: "what product is this?"
    choices: [mug, t-shirt]
    threshold: 0.3
  - name: motif
    question: "is there {choice}?"
    choices: {dog: "a dog"}
    mode: yes_no
    multi: true
"""


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tags.yaml"
    path.write_text(GOOD)
    taxonomy = load_taxonomy(str(path))
    assert taxonomy.columns == [("category", False), ("motif", True)]
    assert taxonomy.attributes[1].choices == {"dog": "a dog"}
    assert taxonomy == parse_taxonomy(GOOD, "elsewhere")


def attribute(extra: str = "", name: str = "a", question: str = "which?", choices: str = "[x, y]") -> str:
    return f"attributes:\n  - {{name: {name}, question: '{question}', choices: {choices}{extra}}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.yaml: a mapping with the key 'attributes' is needed, got None"),
        ("attributes: []", "t.yaml: attributes: List should have at least 1 item after validation, not 0; got []"),
        (
            "atributes: []",
            "t.yaml: unknown key 'atributes', did you mean 'attributes'; known are attributes (and 1 more)",
        ),
        ("a: [", "t.yaml, line 1: expected the node content, but found '<stream end>'"),
        ("a: 1\na: 2", "t.yaml, line 2: 'a' occurs twice"),
        (
            attribute(", treshold: 0.3"),
            "t.yaml: attribute 'a': unknown key 'treshold', did you mean 'threshold'; known are name, question,"
            " choices, threshold, thresholds, multi, mode, when, model, shortlist",
        ),
        (
            attribute(", threshold: 2"),
            "t.yaml: attribute 'a': threshold: Input should be less than or equal to 1; got 2",
        ),
        (
            attribute(", threshold: .nan"),
            "t.yaml: attribute 'a': threshold: Input should be less than or equal to 1; got nan",
        ),
        (attribute(", multi: 1"), "t.yaml: attribute 'a': multi: Input should be a valid boolean; got 1"),
        (
            attribute(", mode: yesno"),
            "t.yaml: attribute 'a': mode: Input should be 'choices' or 'yes_no'; got 'yesno'",
        ),
        (
            attribute(", mode: yes_no"),
            "t.yaml: attribute 'a': question: mode yes_no needs {choice} in it, got 'which?'",
        ),
        (
            attribute(question="is it {choice}?"),
            "t.yaml: attribute 'a': question: {choice} needs mode: yes_no; mode choices asks 'is it {choice}?' once",
        ),
        (attribute(question=" "), "t.yaml: attribute 'a': question: must not be empty"),
        (
            attribute(name="a-b"),
            "t.yaml: attribute 'a-b': name: a column name is letters, digits and _, not a digit first, at most 64;"
            " got 'a-b'",
        ),
        (attribute(name="status"), "t.yaml: attribute 'status': column 'status' is an output column of every run"),
        (
            attribute() + "  - {name: A, question: q, choices: [x]}",
            "t.yaml: attribute 'A': column 'A' is taken by attribute 'a'",
        ),
        (
            attribute() + "  - {name: a_score, question: q, choices: [x]}",
            "t.yaml: attribute 'a_score': column 'a_score' is taken by attribute 'a'",
        ),
        (
            attribute(choices="[yes, no]"),
            "t.yaml: attribute 'a': choices: YAML reads unquoted yes, no, on and off as True: write \"yes\" in quotes;"
            " got [True, False]",
        ),
        (
            attribute(choices="[1]"),
            "t.yaml: attribute 'a': choices: each must be text that is not empty, not 1 (numbers need quotes); got [1]",
        ),
        (
            attribute(choices="[x, x]"),
            "t.yaml: attribute 'a': choices: 'x' occurs more than once; got ['x', 'x']",
        ),
        (
            attribute(choices="{mug: cup, cup: cup}"),
            "t.yaml: attribute 'a': choices: 'cup' occurs more than once; got {'mug': 'cup', 'cup': 'cup'}",
        ),
        (
            attribute(choices="[]"),
            "t.yaml: attribute 'a': choices: a non-empty list of choices, or a mapping of choices to phrases, is"
            " needed; got []",
        ),
        (
            "attributes:\n  - {name: a, question: q}",
            "t.yaml: attribute 'a': key 'choices' is missing; needed are name, question, choices",
        ),
        (
            "attributes:\n  - 3",
            "t.yaml: attribute number 1: a mapping with the keys name, question, choices, threshold, thresholds, multi,"
            " mode, when, model, shortlist is needed; got 3",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_taxonomy(text, "t.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.getcwd []", "\x00", "a: 2026-13-45", "? [1]\n: 2", "[" * 5000, "- *x"]
)
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"^t\.yaml") as caught:
        parse_taxonomy(text, "t.yaml")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"missing\.yaml: the taxonomy cannot be read"):
        load_taxonomy(str(tmp_path / "missing.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff")
    with pytest.raises(RequestError, match="UTF-8 text; byte 3 is not"):
        load_taxonomy(str(tmp_path / "binary.yaml"))
