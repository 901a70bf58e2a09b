"""Conversations as others write them, and questions and answers of ours, as rows to train chat models on."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from vqa_ray.conversation.conversation import CONVERSATION, Conversation, Turn, cells_of, conversation_of, tidy
from vqa_ray.errors import RequestError
from vqa_ray.readers import InputConfig, read_shard
from vqa_ray.readers.conversations import open_conversations
from vqa_ray.row_text.hidden_columns import TEXT_WARNING

HUMAN, GPT = "human", "gpt"


def rows_of(uri: Path, truth: str | None = None, **request: Any) -> list[dict[str, Any]]:
    source = open_conversations(InputConfig(str(uri), **request), truth)
    return [row for shard in source.shards for table in read_shard(source, shard) for row in table.to_pylist()]


def llava(*texts: str, first: str = HUMAN, **columns: object) -> dict[str, object]:
    roles = (HUMAN, GPT) if first == HUMAN else (GPT, HUMAN)
    return {**columns, "conversations": [{"from": roles[i % 2], "value": text} for i, text in enumerate(texts)]}


def written(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows, indent=1))
    return path


def said(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(cell["role"], cell["text"]) for cell in row[CONVERSATION.name]]


def shown(row: dict[str, Any]) -> list[str]:
    return [row["image_uri"], *(each["image_uri"] for each in row["extra_images"] or ())] if row["image_uri"] else []


@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
def test_llava_files_are_read_turn_by_turn(tmp_path: Path, name: str) -> None:
    found = rows_of(
        written(
            tmp_path / name,
            llava("<image>\nWhat is it?", "A cat.", "Sure?", "Yes.", id="1", image="sub/a.jpg"),
            llava("Compare <image> and <image>.", "Alike.", id="2", image=["a.jpg", "b.jpg"]),
            llava("Say hello.", "Hello.", id="3", system="Be brief."),
        )
    )
    assert [row["status"] for row in found] == ["ok"] * 3
    assert [row["question_id"] for row in found] == ["1", "2", "3"]
    assert said(found[0]) == [
        ("user", "<image>\nWhat is it?"),
        ("assistant", "A cat."),
        ("user", "Sure?"),
        ("assistant", "Yes."),
    ]
    assert shown(found[0]) == [f"{tmp_path}/sub/a.jpg"]
    assert shown(found[1]) == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
    assert said(found[2])[0] == ("system", "Be brief.")
    assert shown(found[2]) == []
    assert len({row["row_id"] for row in found}) == 3


def test_image_root_holds_nested_folders(tmp_path: Path) -> None:
    found = rows_of(
        written(tmp_path / "a.jsonl", llava("<image>\nQ", "A", image="coco/1.jpg"), llava("Q", "A", image="../1.jpg")),
        image_root=str(tmp_path / "images"),
    )
    assert shown(found[0]) == [f"{tmp_path}/images/coco/1.jpg"]
    assert found[1]["error_code"] == "image_fetch_failed"


def test_missing_markers_go_in_front_with_a_warning(tmp_path: Path) -> None:
    row, *_ = rows_of(written(tmp_path / "a.jsonl", llava("And <image>?", "A", image=["a.jpg", "b.jpg"])))
    assert said(row)[0] == ("user", "<image>\nAnd <image>?")
    assert shown(row) == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]
    assert row[TEXT_WARNING.name] == "1 <image> put in front: the texts show 1 of 2 images"


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (llava("<image><image>Q", "A", image="a.jpg"), "row_malformed", "2 times <image> in the texts; images of the"),
        (llava("<image>\nQ", "A"), "image_missing", "1 times <image> in the texts; images of the row: 0"),
        (llava("<image>\nQ", "A", image=["a.jpg", None]), "image_missing", "image 2 of 2 in column 'image' is null"),
        (llava("A", "Q", first=GPT, image="a.jpg"), "row_malformed", "turn 1 is the assistant's; expected is one of"),
        (llava("Q", "A", "Q", image="a.jpg"), "answer_missing", "ends with a turn of the user, without an answer"),
        (llava("Q", " ", image="a.jpg"), "answer_missing", "turn 2, of the assistant, is empty"),
        (llava("", "A", image="a.jpg"), "question_missing", "turn 1, of the user, is empty"),
        (llava("Q", "see <image>", image="a.jpg"), "row_malformed", "turn 2, of the assistant, shows an image"),
        ({"conversations": []}, "question_missing", "column 'conversations' holds no turn"),
        ({"conversations": None, "image": "a.jpg"}, "question_missing", "column 'conversations' is null"),
        ({"conversations": "hello"}, "row_malformed", "expected a list of turns"),
        ({"conversations": ["hello"]}, "row_malformed", "expected a list of turns"),
        (
            {"conversations": [{"from": "dog", "value": "wuff"}]},
            "row_malformed",
            "the role is 'dog' (a string)",
        ),
    ],
)
def test_what_is_no_conversation_is_a_typed_row(
    tmp_path: Path, row: dict[str, object], code: str, message: str
) -> None:
    good = llava("Q", "A", image="a.jpg")
    found = rows_of(written(tmp_path / "a.jsonl", good, row, good))
    assert [each["status"] for each in found] == ["ok", "error", "ok"]
    assert found[1]["error_code"] == code
    assert message in found[1]["error_message"]
    assert found[1]["error_message"].startswith("a.jsonl line 2: ")
    assert found[1][CONVERSATION.name] is None
    assert found[1]["image_uri"] in (None, f"{tmp_path}/a.jpg")


def test_an_answer_that_stands_in_its_question_is_no_fault(tmp_path: Path) -> None:
    found = rows_of(written(tmp_path / "a.jsonl", llava("Red or blue?", "Red"), llava("Red", "red")))
    assert [row[TEXT_WARNING.name] for row in found] == [None, "answer 1 is its question word for word"]


def test_messages_hold_images_beside_and_inside(tmp_path: Path) -> None:
    data = base64.b64encode(b"\x89PNG inside").decode()
    answer = {"role": "assistant", "content": [{"type": "text", "text": "A"}]}
    rows = [
        {"images": ["a.jpg", "b.jpg"], "messages": [{"role": "user", "content": parts}, answer]}
        for parts in (
            [{"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}],
            [{"type": "image", "index": 1}, {"type": "text", "text": "after"}, {"type": "image", "index": 0}],
            [{"type": "image", "index": 2}, {"type": "text", "text": "Q"}],
        )
    ]
    inside = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image", "base64": data},
        {"type": "image", "image": "c.jpg"},
        {"type": "text", "text": "Q"},
    ]
    rows.append({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": inside}, answer]})
    rows.append({"messages": [{"role": "user", "content": [{"type": "audio"}]}, answer]})
    found = rows_of(written(tmp_path / "a.jsonl", *rows))
    assert [row["error_code"] for row in found] == [None, None, "image_missing", None, "row_malformed"]
    assert said(found[0])[0] == ("user", "<image>\nand<image>")
    assert shown(found[1]) == [f"{tmp_path}/b.jpg", f"{tmp_path}/a.jpg"]
    assert said(found[3])[:2] == [("system", "S"), ("user", "<image><image><image>\nQ")]
    assert found[3]["image"] == found[3]["extra_images"][0]["image"] == b"\x89PNG inside"
    assert found[3]["extra_images"][1]["image_uri"] == f"{tmp_path}/c.jpg"


def test_parquet_in_the_layout_of_llava_instruct_mix(tmp_path: Path) -> None:
    def text(words: str) -> dict[str, object]:
        return {"index": None, "text": words, "type": "text"}

    shows = {"index": 0, "text": None, "type": "image"}
    answer = {"role": "assistant", "content": [text("A")]}
    table = pa.table(
        {
            "messages": [
                [{"role": "user", "content": [text("Q?\n"), shows]}, answer],
                [{"role": "user", "content": [text("Q?")]}, answer],
            ],
            "images": [[{"bytes": b"image", "path": None}], []],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    found = rows_of(tmp_path)
    assert [row["status"] for row in found] == ["ok", "ok"]
    assert (found[0]["image"], said(found[0])[0]) == (b"image", ("user", "Q?\n<image>"))
    assert found[1]["image"] is None
    assert found[1]["image_id"] is None
    source = open_conversations(InputConfig(str(tmp_path))).without_images()
    names = [row["image_id"] for table in read_shard(source, source.shards[0]) for row in table.to_pylist()]
    assert names == [row["image_id"] for row in found]


def test_dialogues_stand_in_tars_cells_and_data_sets(tmp_path: Path) -> None:
    row = llava("<image>\nQ", "A")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("1.jpg", b"image"), ("1.json", json.dumps(row).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    cell = json.dumps(row["conversations"]).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'image,conversations\n"[""a.jpg""]","{cell}"\na.jpg,"{cell[:-1]}"\n')
    images = [[{"bytes": b"image", "path": "a.jpg"}]]
    data_set = datasets.Dataset.from_dict({"images": images, "conversations": [row["conversations"]]})
    data_set.save_to_disk(tmp_path / "set")
    of_tar, *_ = rows_of(tmp_path / "a.tar")
    of_cells = rows_of(tmp_path / "a.csv")
    of_set, *_ = rows_of(tmp_path / "set")
    assert said(of_tar) == said(of_cells[0]) == said(of_set) == [("user", "<image>\nQ"), ("assistant", "A")]
    assert of_tar["image"] == of_set["image"] == b"image"
    assert shown(of_cells[0]) == [f"{tmp_path}/a.jpg"]
    assert of_cells[1]["error_code"] == "row_malformed"


def test_questions_and_answers_are_conversations(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_path,question,answer\na.jpg,What?,a cat\nb.jpg,Who?,\n")
    found = rows_of(tmp_path / "a.csv")
    assert said(found[0]) == [("user", "<image>\nWhat?"), ("assistant", "a cat")]
    assert found[0][TEXT_WARNING.name] is None
    assert (found[1]["error_code"], found[1]["error_message"]) == (
        "answer_missing",
        "a.csv line 3: no answer in column 'answer'",
    )
    rows = [
        {"image_uri": "a.jpg", "question": "Q", "annotator_answers": ["dog", "cat", "cat"], "answer": "bird"},
        {"image_uri": "b.jpg", "question": "Q", "annotator_answers": None, "answer": "bird"},
    ]
    found = rows_of(written(tmp_path / "b.jsonl", *rows))
    assert [said(row)[1][1] for row in found] == ["cat", "bird"]
    found = rows_of(written(tmp_path / "c.jsonl", *rows), truth="answer", questions=("What is it?",))
    assert said(found[0]) == [("user", "<image>\nWhat is it?"), ("assistant", "bird")]


def test_nested_answers_are_several_turns(tmp_path: Path) -> None:
    results = [{"question": "Q1", "answer": "A1", "answer_score": 0.5}, {"question": "Q2", "answer": "A2"}]
    parquet.write_table(pa.table({"image_uri": ["a.jpg"], "results": [results]}), tmp_path / "a.parquet")
    row, *_ = rows_of(tmp_path)
    assert said(row) == [("user", "<image>\nQ1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")]


def test_an_input_without_questions_or_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no column 'conversations', 'messages' or 'question'; the"):
        rows_of(written(tmp_path / "a.jsonl", {"image": "a.jpg"}))
    with pytest.raises(RequestError, match=r"no column with answers \(annotator_answers, answer, label, labels\); the"):
        rows_of(written(tmp_path / "b.jsonl", {"image": "a.jpg", "question": "Q"}))
    both = written(tmp_path / "c.jsonl", {**llava("Q", "A"), "question": "Q2", "answer": "A2"})
    with pytest.raises(
        RequestError, match=r"--truth answer: .* holds dialogues in column 'conversations'; its questions"
    ):
        rows_of(both, truth="answer")
    assert said(rows_of(both, truth="answer", columns={"question": "question"})[0])[1] == ("assistant", "A2")


def test_cells_keep_a_conversation() -> None:
    conversation = Conversation("S", (Turn("user", "<image>\nQ"), Turn("assistant", "A")), 1)
    assert conversation_of(cells_of(conversation)) == conversation
    assert tidy(" <image> \n<image>\n Q ") == "<image><image>\nQ"
    assert tidy(" Q \n<image> ") == "Q \n<image>"
    assert tidy("<image> \n" * 200_000) == "<image>" * 200_000
