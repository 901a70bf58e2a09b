"""`--cascade … --then MODEL` and `--agree MODEL`: two models in one run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

from tests.helpers.coloured import images_input, jsonl_input, picture
from tests.jobs.commands import manifest, rows, run_here
from vqa_ray.jobs.runtime.cluster.connect import Cluster
from vqa_ray.jobs.runtime.pools import plan_pools
from vqa_ray.jobs.runtime.second_model import open_second
from vqa_ray.jobs.spec.images import AnswerSpec
from vqa_ray.pipelines.resources import minimum_resources

OTHER = ("--then", "fake:boxes", "--second-option", "prompt_template=please: {}")
QUESTIONS = ("--question", "is it a toy?", "--question", "what colour is it?")


@pytest.mark.usefixtures("local_ray")
def test_rows_below_the_condition_are_those_of_the_second_model(tmp_path: Path) -> None:
    source, output = jsonl_input(tmp_path / "in", 24), tmp_path / "out"
    (source.parent / "images" / "00005.jpg").write_bytes(b"no image")
    command = ("answer", source, output, *QUESTIONS, "--cascade", "score < 0.8", *OTHER)
    assert run_here(*command) == 0
    found = rows(output)
    assert found.num_rows == 48
    alone = tmp_path / "first", tmp_path / "second"
    assert run_here("answer", source, alone[0], *QUESTIONS) == 0
    template = ("--prompt-template", "please: {}")
    assert run_here("answer", source, alone[1], *QUESTIONS, *template, "--model", "fake:boxes") == 0
    order = [("source_key", "ascending"), ("question_index", "ascending")]
    first, second, both = (each.sort_by(order).to_pylist() for each in (*map(rows, alone), found))
    for mine, other, row in zip(first, second, both, strict=True):
        if mine["status"] == "error":
            assert (row["error_code"], row["decided_by"]) == (mine["error_code"], None)
            continue
        is_unsure = mine["answer_score"] < 0.8
        expected = other if is_unsure else mine
        assert row["decided_by"] == ("second" if is_unsure else "first")
        assert (row["answer"], row["answer_score"]) == (expected["answer"], expected["answer_score"])
        assert row["first_answer"] == mine["answer"]
        assert row["second_answer"] == (other["answer"] if is_unsure else None)
        assert row["agrees"] == (mine["answer"] == other["answer"] if is_unsure else None)
    asked = pc.sum(pc.equal(found["decided_by"], "second")).as_py()
    told = manifest(output)["second_opinion"]
    assert 0 < asked < 24
    assert (told["asked"], told["decided"], told["compared"]) == (asked, asked, asked)
    assert told["model"]["reference"] == "fake:boxes"
    assert [each["family"] for each in manifest(output)["images_seen"]] == ["fake", "fake"]
    assert manifest(output)["images_seen"][0]["images"] == 23
    assert set(manifest(output)["timing"]["stages_s"]) == {"read", "decode", "model", "second model", "write"}
    (source.parent / "images" / "00005.jpg").write_bytes(picture(5))
    assert run_here(*command, "--retry-failed", "all") == 0
    again = rows(output)
    assert pc.all(pc.equal(again["status"], "ok")).as_py()
    assert again.filter(pc.equal(again["attempt"], 2))["decided_by"].null_count == 0
    assert run_here(*command[:-4], "--then", "fake:") == 2, "another second model is another run"


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("command", ["tag", "caption"])
def test_tags_and_captions(tmp_path: Path, command: str) -> None:
    source = images_input(tmp_path / "in", 6)
    second = ("--agree", "fake:boxes") if command == "tag" else ("--cascade", "score <= 1", "--then", "fake:boxes")
    assert run_here(command, source, tmp_path / "out", *second) == 0
    found = rows(tmp_path / "out")
    assert found["agrees"].to_pylist() == [True] * 6
    assert set(found["decided_by"].to_pylist()) == {"first" if command == "tag" else "second"}
    value = f"second_{command}{'s' if command == 'tag' else ''}"
    assert found[value].to_pylist() == found[value.removeprefix("second_")].to_pylist()
    assert found["second_score"].null_count == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--cascade", "score < 0.6"), "--cascade 'score < 0.6': needs --then"),
        (("--then", "fake:"), "--then fake:: needs --cascade"),
        (("--cascade", "low", "--then", "fake:"), "--cascade 'low': expected a condition such as 'score < 0.6'"),
        (("--agree", "fake:", "--then", "fake:"), "--agree: does not go with --cascade and --then"),
        (("--second-option", "device=cpu"), "--second-option: needs a second model"),
        (("--agree", "nowhere/at-all"), "--agree: model nowhere/at-all"),
        (("--agree", "fake:", "--second-option", "devise=cpu"), "did you mean device?"),
        (
            ("--agree", "fake:", "--second-option", "top_k=3"),
            "--second-option top_k=3: no option of a model; known are",
        ),
        (("--agree", "fake:", "--second-option", "max_pixels=many"), "--second-option: --max-pixels: "),
        (("--agree", "openai:gpt"), "--agree: model openai:gpt: needs --base-url"),
        (("--agree", "fake:", "--layout", "nested"), "--layout nested: a second model decides each question"),
    ],
)
def test_bad_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str) -> None:
    source = images_input(tmp_path / "in", 1)
    assert run_here("answer", source, tmp_path / "out", "--question", "what?", *more) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("gpus", "options", "expected"),
    [
        (0, {}, (0, 0)),
        (1, {}, (0.5, 0.5)),
        (4, {}, (1, 1)),
        (1, {"device": "cpu"}, (1, 0)),
    ],
)
def test_two_models_share_a_cluster(gpus: float, options: dict[str, str], expected: tuple[float, float]) -> None:
    spec = AnswerSpec(input="in", output="out", model="fake:", agree="fake:boxes", second_option=options)
    cluster = Cluster({"CPU": 16.0, "GPU": float(gpus)}, None, "a cluster")
    second = open_second(spec, "answer")
    assert second is not None
    plan = plan_pools(spec, second, cluster)
    assert plan.second is not None
    assert (plan.actor_gpus, plan.second.actor_gpus) == expected
    assert plan.max_actors * plan.actor_gpus + plan.second.max_actors * plan.second.actor_gpus <= max(gpus, 0)
    assert minimum_resources(plan)["GPU"] <= gpus


@pytest.mark.parametrize(("options", "expected"), [({}, 4), ({"batch_size": 8}, 0.25)])
def test_a_cascade_asks_its_second_model_in_larger_batches(options: dict[str, int], expected: float) -> None:
    """Most rows of a batch are decided already."""
    spec = AnswerSpec(
        **{"input": "in", "output": "out", "model": "fake:", "cascade": "score < 0.5", "then": "fake:boxes"},
        second_option=options,
    )
    second = open_second(spec, "answer")
    plan = plan_pools(spec, second, Cluster({"CPU": 16.0}, None, "a cluster"))
    assert plan.second is not None
    assert plan.second.batch_size == expected * plan.batch_size


def test_an_attribute_named_like_a_column_of_two_models_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = tmp_path / "tags.yaml"
    tags.write_text("attributes: [{name: agrees, question: 'what?', choices: [a, b]}]")
    source = images_input(tmp_path / "in", 1)
    assert run_here("tag", source, tmp_path / "out", "--tags", str(tags), "--agree", "fake:boxes") == 2
    assert "column 'agrees' is one of a run with two models" in capsys.readouterr().err
