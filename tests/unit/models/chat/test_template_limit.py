"""A chat template is a program of the checkpoint's: it may not run for ever."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from tests.helpers.tiny_chat import save_tiny_chat
from vqa_ray.errors import ModelLoadError
from vqa_ray.models.chat import processor
from vqa_ray.models.chat.model import ChatModel
from vqa_ray.models.chat.template_limit import time_limit
from vqa_ray.models.checkpoint.opened import Checkpoint


def test_a_loop_ends_in_time() -> None:
    start = time.monotonic()
    with pytest.raises(TimeoutError), time_limit(0.2):
        sum(1 for _ in itertools.repeat(None))
    assert time.monotonic() - start < 20


def test_what_ends_in_time_is_left_alone() -> None:
    with time_limit(0.05):
        pass
    time.sleep(0.2)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "takes more than 1 s"),
        ("{{ range(10**9) | list }}", "chat template fails: Range too big"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "chat template fails"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "chat template fails"),
    ],
)
def test_a_hostile_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, reason: str) -> None:
    directory = save_tiny_chat(tmp_path / "model", "llava")
    (directory / "chat_template.jinja").write_text(template)
    monkeypatch.setattr(processor, "_TEMPLATE_S", 1)
    with pytest.raises(ModelLoadError, match=reason):
        ChatModel.from_checkpoint(Checkpoint.open(str(directory)), device="cpu")
