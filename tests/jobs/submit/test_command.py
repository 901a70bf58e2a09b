"""What `vqa-ray submit` makes of a line: the id of its job."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vqa_ray.jobs.cli import main
from vqa_ray.jobs.submit import command
from vqa_ray.jobs.submit.attempts import JobRequest, base_id


def test_commands_that_print_are_told_apart_by_their_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[tuple[str, JobRequest]] = []

    def submit(_: object, base: str, request: JobRequest) -> tuple[str, bool]:
        submitted.append((base, request))
        return f"{base}-1", True

    monkeypatch.setattr(command, "connect", lambda _: SimpleNamespace(url="http://head:8265"))
    monkeypatch.setattr(command.attempts, "submit", submit)
    for text in ("a mug", "a shoe", "a mug"):
        assert main(["submit", "--no-wait", "search", "s3://bucket/index", "--text", text]) == 0
    for text in ("a mug", "a shoe"):
        output = "s3://bucket/hits.json"
        assert main(["submit", "--no-wait", "search", "s3://bucket/index", "--text", text, "--output", output]) == 0
    mug, shoe, again, *written = [base for base, _ in submitted]
    assert mug == again != shoe
    assert written == [base_id("search", ["s3://bucket/hits.json"])] * 2
    assert "output" not in submitted[0][1].metadata
