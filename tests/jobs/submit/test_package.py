"""What a submitted command takes along, and what is refused before anything is sent."""

from __future__ import annotations

import logging
import re
import zipfile
from pathlib import Path

import pytest

import vqa_ray
from vqa_ray.errors import RequestError
from vqa_ray.jobs import typer_app
from vqa_ray.jobs.cli import main
from vqa_ray.jobs.commands import COMMANDS, imported
from vqa_ray.jobs.spec.field import extra_of
from vqa_ray.jobs.spec.images import TagSpec
from vqa_ray.jobs.spec.tools import PublishSpec
from vqa_ray.jobs.submit import client, local_paths, package
from vqa_ray.jobs.submit import command as submit_command
from vqa_ray.jobs.submit.local_paths import files_to_send
from vqa_ray.jobs.submit.package import runtime_environment

LINE = ("tag", "--input", "s3://bucket/photos/", "--output", "s3://bucket/tags/", "--model", "bundled:catalog-vilt")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def sent(*more: str, spec_file: str | None = None) -> list[str]:
    spec = typer_app.parse([*LINE, *more], COMMANDS)
    assert spec is not None
    return files_to_send(spec, spec_file)


def test_small_files_below_the_directory_are_sent_along() -> None:
    Path("conf").mkdir()
    Path("conf/tags.yaml").write_text("attributes: {}")
    Path("calibration.json").write_text("{}")
    Path("tag.yaml").write_text("quiet: true")
    found = sent("--tags", "conf/tags.yaml", "--calibration", "calibration.json", spec_file="tag.yaml")
    assert found == ["calibration.json", "conf/tags.yaml", "tag.yaml"]
    assert sent("--tags", "listing-check") == []
    environment = runtime_environment(None, "installed", [], found, Path("scratch"))
    assert (Path(environment["working_dir"]) / "conf" / "tags.yaml").read_text() == "attributes: {}"


def test_what_cannot_be_sent_along_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("tags.yaml", "attributes: {}")
    environment = write("r.yaml", "working_dir: s3://bucket/code.zip")
    with pytest.raises(RequestError, match=r"r\.yaml: working_dir: does not go with relative files .*tags\.yaml"):
        runtime_environment(environment, "installed", [], [file], Path("scratch"))
    monkeypatch.setattr(package, "_MAX_FILES_BYTES", 10)
    with pytest.raises(RequestError, match=r"tags\.yaml: 0 MB to send along, at most 0 MB"):
        runtime_environment(None, "installed", [], [file], Path("scratch"))


@pytest.mark.parametrize(
    ("pattern", "kept"), [("data/", "training/data"), ("*.yaml", "catalog"), ("/training", "training")]
)
def test_excludes_of_a_working_directory_leave_out_nothing_that_is_sent(pattern: str, kept: str) -> None:
    file = write("r.yaml", f"excludes: ['/photos', '{pattern}']")
    with pytest.raises(
        RequestError, match=rf"excludes: '{re.escape(pattern)}' also leaves out vqa_ray/{kept}"
    ) as error:
        runtime_environment(file, "this", [], [], Path("scratch"))
    assert "__pycache__" not in str(error.value)
    file = write("r.yaml", "excludes: ['/photos']")
    assert runtime_environment(file, "this", [], [], Path("scratch"))["excludes"] == ["__pycache__", "/photos"]
    with pytest.raises(RequestError, match=r"r\.yaml: excludes: wanted a list"):
        runtime_environment(write("r.yaml", "excludes: data/"), "this", [], [], Path("scratch"))


def test_absolute_paths_are_left_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert sent("--tags", "/shared/tags.yaml", "--gallery", "/shared/g.html") == []
    assert "--gallery /shared/g.html, --tags /shared/tags.yaml: local paths, where all nodes" in caplog.text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--tags", "../tags.yaml"), "--tags ../tags.yaml: no such file here"),
        (("--tags", "tags.yaml"), "--tags tags.yaml: no such file here"),
        (("--gallery", "tags.html"), "--gallery tags.html: a relative path ends in the job's own directory"),
        (("--image-root", "./photos"), "--image-root ./photos: lies on this machine"),
        (("--tags", "/dev/fd/63"), "--tags /dev/fd/63: a stream of this process, which the cluster does not see"),
        (
            ("--openlineage", "events.jsonl"),
            "--openlineage events.jsonl: a relative path ends in the job's own directory",
        ),
        (("--openlineage", "http://name:password@host"), "--openlineage http://host: holds a name, password"),
        (
            ("--second-option", "base_url=http://name:password@host"),
            "--second-option http://host: holds a name, password",
        ),
        (("--second-option", "calibration=c.json"), "--second-option c.json: no such file here"),
        (("--cache", "https://name:password@host/x"), "--cache https://host/x: holds a name, password or signature"),
        (("--cache", "https://host/x?X-Amz-Signature=1"), "--cache https://host/x: holds a name, password"),
    ],
)
def test_what_the_cluster_cannot_see_and_secrets_are_refused(more: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("?", r"\?")) as error:
        sent(*more)
    assert "password@" not in str(error.value)


def test_files_of_any_kind_are_sent_along_and_outputs_are_not() -> None:
    for name in ("questions.yaml", "prompts.yaml", "conversations.json"):
        Path(name).write_text("")
    spec = typer_app.parse(["answer", *LINE[1:], "--questions", "questions.yaml"], COMMANDS)
    assert spec is not None
    assert files_to_send(spec, None) == ["questions.yaml"]
    assert sent("--second-option", "calibration=prompts.yaml") == ["prompts.yaml"]
    line = ["instruct", *LINE[1:], "--prompts", "prompts.yaml"]
    spec = typer_app.parse(line, COMMANDS)
    assert spec is not None
    assert files_to_send(spec, None) == ["prompts.yaml"]
    spec = typer_app.parse([*line, "--llava", "conversations.json"], COMMANDS)
    assert spec is not None
    with pytest.raises(
        RequestError, match=r"--llava conversations.json: a relative path ends in the job's own directory"
    ):
        files_to_send(spec, None)
    spec = typer_app.parse(["export", "s3://bucket/run", "--to", "hub", "--output", "me/answers"], COMMANDS)
    assert spec is not None
    assert files_to_send(spec, None) == []


def test_every_option_that_may_name_a_path_is_looked_at() -> None:
    looked_at = set(local_paths._PATHS)
    for name, command in COMMANDS.items():
        if name in submit_command._NOT_SUBMITTED:
            continue
        for spec in filter(None, (command.spec, command.variant and command.variant.spec)):
            for field_name, field in imported(spec).model_fields.items():
                unit = extra_of(field)["unit"]
                if re.search(r"FILE|DIR|UR[IL]|MODEL\b|RUN|INDEX|TABLE", unit):
                    assert unit in looked_at or field_name in local_paths._WRITTEN, (name, field_name)
                if re.match(r"(Also )?[Ww]rite|.* to write|.*append", field.description or "") and "FILE" in unit:
                    assert field_name in local_paths._WRITTEN, (name, field_name)


def test_a_class_is_refused_with_the_way_to_send_it() -> None:
    spec = typer_app.parse(["answer", *LINE[1:], "--schema", "products:Shirt"], COMMANDS)
    assert spec is not None
    wanted = "--schema products:Shirt: a class of a module .*: vqa-ray schema products:Shirt --output product.json"
    with pytest.raises(RequestError, match=wanted):
        files_to_send(spec, None)


def test_a_colon_in_the_name_of_a_file_is_no_scheme() -> None:
    Path("tags:2.yaml").write_text("attributes: {}")
    assert sent("--tags", "tags:2.yaml") == ["tags:2.yaml"]
    assert sent("--tags", "s3://bucket/tags.yaml") == []
    with pytest.raises(RequestError, match=r"--gallery tags:2.html: a relative path"):
        sent("--gallery", "tags:2.html")


def test_the_code_is_this_installation_or_a_wheel() -> None:
    (code, other) = runtime_environment(write("r.yaml", "py_modules: [s3://b/x.zip]"), "this", [], [], Path("a"))[
        "py_modules"
    ]
    assert (Path(code) / "jobs" / "cli.py").samefile(Path(vqa_ray.__file__).parent / "jobs" / "cli.py")
    assert other == "s3://b/x.zip"
    with zipfile.ZipFile("vqa_ray-1-py3-none-any.whl", "w") as wheel:
        for name in ("vqa_ray/__init__.py", "vqa_ray/jobs/cli.py", "vqa_ray-1.dist-info/METADATA"):
            wheel.writestr(name, "")
    (unpacked,) = runtime_environment(None, "vqa_ray-1-py3-none-any.whl", [], [], Path("b"))["py_modules"]
    assert sorted(each.name for each in Path(unpacked).iterdir()) == ["__init__.py", "jobs"]
    assert "py_modules" not in runtime_environment(None, "installed", [], [], Path("c"))


def test_variables_pass_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUCKET_KEY", "BUCKET_SECRET"):
        monkeypatch.setenv(name, name.lower())
    file = write("r.yaml", "env_vars: {BUCKET_KEY: x, OTHER: y}")
    variables = runtime_environment(file, "installed", ["BUCKET_*"], [], Path("a"))["env_vars"]
    assert variables.pop("RAY_JOB_STOP_WAIT_TIME_S") == "30"
    assert variables == {"BUCKET_KEY": "bucket_key", "BUCKET_SECRET": "bucket_secret", "OTHER": "y"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--env", "NOT_SET_HERE", *LINE), "--env NOT_SET_HERE: no such environment variable is set here"),
        (("--env", "KEY=secret", *LINE), "--env KEY: no such environment variable is set here; give the name"),
        (("--package", "x.whl", *LINE), "--package x.whl: cannot be read"),
        (("--package", "text.whl", *LINE), "--package text.whl: no wheel of vqa-ray"),
        (("--runtime-env", "text.whl", *LINE), "--runtime-env text.whl: wanted a mapping"),
        (("--runtime-env", "x.yaml", *LINE), "--runtime-env x.yaml: cannot be read"),
        (LINE, "--address: is required, or RAY_API_SERVER_ADDRESS or RAY_ADDRESS"),
        (("--address", "10.0.0.1:6379", *LINE), "--address 10.0.0.1:6379: wanted the Jobs API of the cluster's head"),
        (("--address", "http://[::1:8265", *LINE), r"--address http://\[::1:8265: wanted the Jobs API"),
        ((*LINE, "--address"), "--address: wanted a value behind it"),
        (("--address", "auto", *LINE), "--address auto: wanted the Jobs API"),
        ((*LINE, "--address", "ray://head:10001"), "--address ray://head:10001: wanted .*: http://head:8265"),
        (("--address", "http://a:8265", *LINE, "--address", "http://b:8265"), "--address: given twice"),
        ((*LINE, "--no-wait"), "--no-wait: is of submit and stands before the command"),
        ((*LINE, "--env", "X"), "--env: is of submit and stands before the command"),
        ((*LINE, "--cache", "s3://b/\udcff"), r"s3://b/\\udcff: is not UTF-8"),
        (("plan", *LINE, "--tags", "tags.yaml"), "--tags tags.yaml: no such file here"),
        (("plan", "--spec", "p.yaml", *LINE), "p.yaml: cannot be read"),
        (("plan", *LINE, "--gallery", "x.html"), "--gallery x.html: a relative path ends"),
        (("browse", "x"), "browse: runs where it is called"),
        (("tga",), "unknown command 'tga'; did you mean tag"),
        ((*LINE, "--top-k", "2"), "no such option: --top-k"),
        ((), "wanted one of JOB, --list, --stop ID and --logs ID, given none"),
        (("--list", "--stop", "x"), "given --list and --stop"),
    ],
)
def test_a_wrong_request_ends_in_one_line(
    argv: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("text.whl", "no wheel")
    tags = ("--tags", "listing-check") if LINE[0] in argv and "--tags" not in argv else ()
    head, tail = (argv[: argv.index("tag") + 1], argv[argv.index("tag") + 1 :]) if tags else (argv, ())
    assert main(["submit", *head, *tags, *tail]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(message, told)


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


def test_a_head_that_is_away_may_come_again_and_a_url_stays_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    line = [*LINE, "--tags", "listing-check"]
    assert main(["submit", "--address", "http://127.0.0.1:9", *line]) == 1
    assert "no Jobs API answers: connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["t\u00f6k\u20acn-0123456789", "two\nlines-0123456789"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed = {"Authorization": f"Bearer {token}"}
    monkeypatch.setattr(client, "get_auth_headers_if_auth_enabled", lambda _: allowed)
    assert main(["submit", "--address", "http://127.0.0.1:9", "--list"]) == 2
    told = capsys.readouterr().err
    assert "the token holds characters that a header of HTTP cannot" in told
    assert "0123456789" not in told
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"X": "a\\nb"}')
    assert main(["submit", "--address", "http://127.0.0.1:9", "--list"]) == 2
    assert "RAY_JOB_HEADERS: holds characters" in capsys.readouterr().err


def test_the_place_of_a_table_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    Path("shop.lance").mkdir()
    rest = {"output": "s3://bucket/tags/", "model": "fake:", "tags": "listing-check"}
    for uri in ("lance:shop.lance", "lance:shop.lance@3", "delta:./skus"):
        with pytest.raises(RequestError, match=r"lies on this machine, where the cluster does not see it"):
            files_to_send(TagSpec(input=uri, **rest), None)
    with pytest.raises(RequestError, match=r"--to delta:skus: a relative path ends in the job's own directory"):
        files_to_send(PublishSpec(run="s3://bucket/tags/", to="delta:skus"), None)
    for uri in ("delta:s3://bucket/skus@7", "iceberg:shop.photos.skus"):
        assert files_to_send(TagSpec(input=uri, **rest), None) == []
        assert files_to_send(PublishSpec(run="s3://bucket/tags/", to=uri.partition("@")[0]), None) == []
    assert not caplog.messages
    assert files_to_send(TagSpec(input="delta:/shared/skus", **rest), None) == []
    assert (
        "--input delta:/shared/skus: local paths, where all nodes of the cluster must see the same files" in caplog.text
    )
