"""Tasks are imported when they are trained."""

from __future__ import annotations

import subprocess
import sys


def test_no_training_imports_the_libraries_of_another() -> None:
    code = """
import sys
import vqa_ray.training.loop, vqa_ray.training.vqa.task, vqa_ray.training.contrastive.task
print(*{"transformers", "peft"} & set(sys.modules))
import vqa_ray.jobs.finetune.command
print(*{"transformers.processing_utils", "torch._dynamo", "peft"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
