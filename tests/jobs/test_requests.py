"""Wrong requests: exit code 2 and one line on standard error, before any work."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from tests.helpers.coloured import parquet_input, table
from tests.jobs.commands import ROOT, run_here
from vqa_ray.errors import OutputTakenOverError
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.runtime.signals import STOP
from vqa_ray.jobs.spec.field import group_of, option_name

FULL = ["--input", "in", "--output", "out", "--model", "fake:"]


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these may get as far as Ray."""
    import ray

    def started(**options: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "is_initialized", bool)
    monkeypatch.setattr(ray, "init", started)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a request is refused with."""
    assert main(argv) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1, line
    return line.strip()


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["anwser"], f"vqa-ray: unknown command 'anwser'; did you mean answer?; known are {', '.join(COMMANDS)}"),
        (["answer"], "vqa-ray answer: --input: is required"),
        (["answer", *FULL[:4]], "vqa-ray answer: --model: is required"),
        (
            ["answer", *FULL, "--top-k", "0"],
            "vqa-ray answer: --top-k: input should be greater than or equal to 1, given 0",
        ),
        (["answer", *FULL, "--column", "question"], "vqa-ray answer: --column: wanted NAME=COLUMN, given 'question'"),
        (
            ["answer", *FULL, "--column", "question=a", "--column", "question=b"],
            "vqa-ray answer: --column: 'question' is given twice, as 'a' and 'b'",
        ),
        (
            ["answer", *FULL, "--question", "what?", "--question", "who?", "--question", "what?"],
            "vqa-ray answer: --question: 'what?' is given twice; wanted once",
        ),
        (["answer", *FULL, "--top-k", "ten"], "vqa-ray answer: --top-k: input should be a valid integer, given 'ten'"),
        (
            ["answer", *FULL, "--max-error-fraction", "few"],
            "vqa-ray answer: --max-error-fraction: input should be a valid number, given 'few'",
        ),
        (["answer", *FULL, "--layout", "wide"], "vqa-ray answer: --layout: 'wide' is not one of 'rows', 'nested'"),
        (["browse", "--port", "web", "run"], "vqa-ray browse: --port: input should be a valid integer, given 'web'"),
        (
            ["answer", *FULL, "--retry-failed", "oops"],
            "vqa-ray answer: --retry-failed: unknown error code 'oops'; known are all, image_missing,"
            " image_fetch_failed, image_undecodable, image_too_large, image_unsupported, image_aspect_ratio,"
            " question_missing, text_missing, answer_missing, row_malformed, row_too_long, model_error, row_crashed,"
            " schema_unfinished, schema_violated, endpoint_failed, endpoint_refused, reply_malformed,"
            " filtered_excluded, filtered_refusal, filtered_length, filtered_duplicate, filtered_disagreement",
        ),
        (["answer", "--spec", "no.yaml"], "vqa-ray answer: no.yaml: cannot be read: No such file or directory"),
    ],
)
def test_one_line_tells_what_is_wrong(capsys, argv: list[str], line: str) -> None:
    assert refused(capsys, *argv) == line


def test_option_that_does_not_exist(capsys) -> None:
    assert refused(capsys, "answer", *FULL, "--topk", "3") == (
        "vqa-ray answer: no such option: --topk; did you mean --top-k?; see vqa-ray answer --help"
    )


def test_option_of_other_commands(capsys) -> None:
    assert refused(capsys, "caption", *FULL, "--group-by", "sku") == (
        "vqa-ray caption: no such option: --group-by; it is one of answer, tag; see vqa-ray caption --help"
    )
    assert "no such option: --model; it is one of answer, caption, tag, retrieve and " in refused(
        capsys, "catalog", "--model", "x"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("modle: x\n", "spec.yaml: unknown key 'modle'; did you mean 'model'?"),
        (
            "{input: in, output: out, model: x, top_k: many}\n",
            "spec.yaml: top_k: input should be a valid integer, given 'many'",
        ),
        ("- input\n", "spec.yaml: wanted a mapping of names to values, got list"),
        ("input: [\n", "spec.yaml: not YAML: "),
        ("top_k: 3\n", "spec.yaml: input: is required"),
    ],
)
def test_wrong_spec(capsys, tmp_path: Path, monkeypatch, text: str, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(text)
    assert line in refused(capsys, "answer", "--spec", "spec.yaml")


def test_input_that_is_not_there(capsys, tmp_path: Path) -> None:
    line = refused(capsys, "answer", "--input", f"{tmp_path}/no", "--output", f"{tmp_path}/out", "--model", "fake:")
    assert line == f"vqa-ray answer: {tmp_path}/no: no such file, directory or prefix"
    assert not (tmp_path / "out").exists()


def test_input_without_rows(capsys, tmp_path: Path) -> None:
    pq.write_table(table(0), tmp_path / "in.parquet")
    argv = ["--input", f"{tmp_path}/in.parquet", "--output", f"{tmp_path}/out", "--model", "fake:"]
    assert "in.parquet: the input is empty" in refused(capsys, "answer", *argv)


def test_column_that_is_not_there(capsys, tmp_path: Path) -> None:
    source = parquet_input(tmp_path / "in", 2)
    assert run_here("answer", source, tmp_path / "out", "--keep", "weight") == 2
    assert "weight" in capsys.readouterr().err


def test_model_that_is_not_there(capsys, tmp_path: Path) -> None:
    source = parquet_input(tmp_path / "in", 2)
    assert run_here("answer", source, tmp_path / "out", "--model", f"{tmp_path}/nothing") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(capsys, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run_here("answer", parquet_input(tmp_path / "in", 2), tmp_path / "file" / "out") == 2
    line = capsys.readouterr().err
    assert line.startswith(f"vqa-ray answer: --output {tmp_path}/file/out: cannot be read: Not a directory")


def test_output_with_foreign_files_is_not_touched(capsys, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert run_here("answer", parquet_input(tmp_path / "in", 2), tmp_path / "out") == 2
    assert capsys.readouterr().err == (
        f"vqa-ray answer: --output {tmp_path}/out: holds files that are not of a run (thesis.txt); "
        "wanted a new or empty directory\n"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_retry_without_a_finished_run(capsys, tmp_path: Path) -> None:
    assert run_here("answer", parquet_input(tmp_path / "in", 2), tmp_path / "out", "--retry-failed") == 2
    assert f"--retry-failed: {tmp_path}/out holds no finished run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=["vqa-ray", *COMMANDS])
def test_help_is_quick_and_light(command: tuple[str, ...]) -> None:
    code = (
        "import sys; from vqa_ray.jobs.cli import main; code = main([*sys.argv[1:], '--help']);"
        "heavy = {'ray', 'torch', 'transformers', 'pyarrow', 'PIL'} & set(sys.modules);"
        "assert code == 0 and not heavy, (code, heavy)"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    # Under one second on an idle machine; tests share theirs.
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(("where", "code"), [("existing_record", 2), ("claim_output", 1)])
def test_a_store_that_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, code: int
) -> None:
    from botocore.exceptions import NoCredentialsError

    def refuse(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(f"vqa_ray.jobs.runtime.admission.{where}", refuse)
    assert run_here("answer", parquet_input(tmp_path / "in", 2), tmp_path / "out", "--question", "what?") == code
    line = capsys.readouterr().err
    said = "vqa-ray answer: a file or its store failed: NoCredentialsError: Unable to locate credentials: set AWS_ACC"
    assert line.startswith(said)
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["answer", *FULL, "--input", "more"], "vqa-ray answer: --input: given 2 times; wanted once"),
        (["search", "index", "--text", "a", "--text", "b"], "vqa-ray search: --text: given 2 times; wanted once"),
        (["export", "run", "--to", "csv", "--to", "jsonl"], "vqa-ray export: --to: given 2 times; wanted once"),
        (
            ["answer", "--input", "", *FULL[2:]],
            "vqa-ray answer: --input: is empty; wanted a value, or leave the option out",
        ),
        (
            ["answer", *FULL[:2], "--output", "", *FULL[4:]],
            "vqa-ray answer: --output: is empty; wanted a value, or leave the option out",
        ),
        (
            ["answer", *FULL, "--device", "tpu"],
            "vqa-ray answer: --device: unknown device; wanted cpu, cuda or cuda:N, given 'tpu'",
        ),
        (
            ["search", "index", "--text", "a", "--gallery", "/dev/null/page.html"],
            "vqa-ray search: --gallery /dev/null/page.html: cannot be written: /dev/null is not a directory to write "
            "to",
        ),
        (
            ["search", "index", "--text", "a", "--output", "/dev/null/hits.json"],
            "vqa-ray search: --output /dev/null/hits.json: cannot be written: /dev/null is not a directory to write to",
        ),
        (["models", ""], "vqa-ray models: MODEL: is empty; wanted a value, or leave the option out"),
        (
            ["answer", "--input", "ftp://host/x", *FULL[2:], "--question", "x"],
            "vqa-ray answer: ftp://host/x: unknown scheme 'ftp'; known are paths, file://, s3://, gs://",
        ),
        (
            ["answer", "--input", "s3:/bucket/x", *FULL[2:], "--question", "x"],
            "vqa-ray answer: s3:/bucket/x: wanted two slashes after the colon: s3://",
        ),
    ],
)
def test_values_that_would_be_lost_or_misread_are_refused(
    capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    assert refused(capsys, *argv) == line


@pytest.mark.parametrize("output", ["s3:/bucket/out", "foo://bucket/out", "ftp://host/out"])
def test_output_of_a_wrong_scheme_is_refused_and_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(table(2), tmp_path / "in.parquet")
    line = refused(capsys, "answer", "--input", "in.parquet", "--output", output, "--model", "fake:")
    assert output in line
    assert "not JSON" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_file_of_options(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text("oddly: 1\n")
    line = refused(capsys, command, "--spec", f"{tmp_path}/spec.yaml")
    assert line.startswith(f"vqa-ray {command}: {tmp_path}/spec.yaml: unknown key 'oddly'")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_hides_no_option_and_puts_each_in_a_group(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    kind = imported(COMMANDS[command].spec)
    assert [name for name in kind.model_fields if option_name(name, kind) not in text] == []
    assert {group_of(name, kind) for name in kind.model_fields} - {"Options"} <= set(
        re.findall(r"^(\S.*):$", text, re.M)
    )


def test_a_catalogue_is_made_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.yaml").write_text(f"count: 2\noutput: {tmp_path}/out\nformat: images\n")
    assert main(["catalog", "--spec", f"{tmp_path}/spec.yaml", "--count", "3"]) == 0
    assert capsys.readouterr().out == f"3 products in 1 images shard under {tmp_path}/out\n"


def test_a_writer_that_was_taken_over_is_not_stopped_by_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(*_: object) -> None:
        raise OutputTakenOverError("out: this process stood still and another one has taken over")

    monkeypatch.setattr("vqa_ray.jobs.typer_app.call", taken_over)
    monkeypatch.setattr(STOP, "received", signal.SIGINT)
    assert main(["answer"]) == 1
    assert capsys.readouterr().err == "vqa-ray answer: out: this process stood still and another one has taken over\n"
    # The same where the process has to be ended by force.
    monkeypatch.setattr(STOP, "lock", SimpleNamespace(is_lost=True))
    monkeypatch.setattr("vqa_ray.jobs.typer_app.call", interrupted)
    assert main(["answer"]) == 1
    line = "vqa-ray answer: another process has taken over the output; what this one finished is kept\n"
    assert capsys.readouterr().err == line
    monkeypatch.setattr(STOP, "lock", SimpleNamespace(is_lost=False))
    assert main(["answer"]) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: vqa-ray" in capsys.readouterr().out


def test_a_device_that_is_not_here_is_refused_before_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["answer", "--input", str(tmp_path), "--output", str(tmp_path / "out"), "--model", "fake:"]
    for device in ("cuda:99", "mps:99", "xpu:99", "cpu:1"):
        assert main([*argv, "--device", device]) == 2
        assert f"--device {device}: torch sees " in capsys.readouterr().err
        assert main(["browse", str(tmp_path), "--device", device]) == 2
        assert f"--device {device}: torch sees " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_image_files_beside_an_unusable_table_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "MANIFEST.csv").write_text("file,b\nphotos/1.jpg,2\n")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"\xff\xd8\xff")
    argv = ["tag", "--input", str(tmp_path), "--output", str(tmp_path / "out"), "--model", "fake:"]
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path}: " in told
    assert "image files there are read by --input-format images" in told


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("is there a dog?", """--where '"is there a dog?"'"""),
        ("'is there a dog?", """--where '"is there a dog?" and not "is it a toy?"'"""),
        ("is it a dog? or a cat?", """--where '"is there a dog?" and not "is it a toy?"'"""),
    ],
)
def test_an_expression_without_its_quotes_is_shown_with_them(
    given: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrieve", *FULL, "--where", given]) == 2
    line, *excerpt = capsys.readouterr().err.splitlines()
    assert line.startswith("vqa-ray retrieve: --where: ")
    assert line.endswith(f"; in a shell: {shown}")
    assert excerpt[0] == f"  {given}"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str, tmp_path: Path) -> None:
    def run(arguments: str) -> int:
        line = f'"$0" -m vqa_ray.jobs.cli {arguments} {closed}'
        return subprocess.run(["bash", "-c", line, sys.executable], cwd=ROOT, check=False, timeout=200).returncode

    assert run("--help") == 0
    assert run(f"caption --input {tmp_path}/gone --model fake: --output {tmp_path}/out") == 2
