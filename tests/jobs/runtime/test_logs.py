"""Messages as JSON lines."""

from __future__ import annotations

import json
import logging

import pytest

from vqa_ray.jobs.runtime import logs


def test_a_line_names_the_run_that_is_under_way(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(quiet=False, log_format="json")
    logger = logging.getLogger("vqa_ray.test")
    logger.info("before")
    with logs.of_run("r1"):
        logger.info("within", extra={"fields": {"rows": 3}})
    logger.info("after")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["message"], line.get("run_id")) for line in lines] == [
        ("before", None),
        ("within", "r1"),
        ("after", None),
    ]
    assert lines[1]["rows"] == 3
