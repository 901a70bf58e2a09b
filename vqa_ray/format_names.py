"""The names of input formats, for readers and for the options of commands, which import no reader."""

from __future__ import annotations

from typing import Literal, TypeAlias

FileFormat: TypeAlias = Literal["parquet", "webdataset", "jsonl", "csv", "images", "pdf", "vqa-v2", "hf", "lance"]
BenchmarkFormat: TypeAlias = Literal[
    "pope",
    "mme",
    "mmbench",
    "mmbench-circular",
    "seed-bench",
    "gqa",
    "textvqa",
    "vizwiz",
    "scienceqa",
    "mmmu",
    "mathvista",
    "ai2d",
    "docvqa",
    "chartqa",
    "ocrbench",
]
Format: TypeAlias = Literal[FileFormat, BenchmarkFormat]
