"""The options of `vqa-ray search`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vqa_ray.jobs.spec.cache_group import CacheGroup
from vqa_ray.jobs.spec.endpoint_group import EndpointGroup
from vqa_ray.jobs.spec.field import option
from vqa_ray.jobs.spec.groups import (
    DeviceGroup,
    EngineGroup,
    ExpressionGroup,
    ImageGroup,
    LoggingGroup,
    PrecisionGroup,
)

TABLE, JSON = "table", "json"
FILES = (".parquet", ".json")
# Candidates per hit that is wanted, where they are verified.
_CANDIDATES = 4
_OF_VERIFY = (
    "verify_model",
    "candidates",
    "calibration",
    "threshold",
    "combine",
    "prompt_template",
    "engine",
    "engine_option",
    "max_pixels",
    "cache",
    "cache_max_bytes",
    *EndpointGroup.model_fields,
)


class SearchSpec(
    LoggingGroup, ExpressionGroup, EngineGroup, EndpointGroup, CacheGroup, PrecisionGroup, DeviceGroup, ImageGroup
):
    """Find the images of an index that are most like a text, an image or both; a VQA model may have the last word."""

    group: ClassVar[str] = "Search"

    index: str = option("Index to search, which `vqa-ray index` made.", unit="INDEX", argument=True)
    text: str | None = option('Query in words: "a red mug with a dog".', None, unit="TEXT")
    image: str | None = option("Query as an image; with --text, scores are the mean of both.", None, unit="URI")
    top_k: int = option("Number of hits.", 10, unit="N", ge=1, le=100_000)
    filter: str | None = option(
        "SQL condition on the columns of the index and its tags: \"category = 'mug'\".", None, unit="CONDITION"
    )
    tags: str | None = option("Run of `vqa-ray tag` whose columns are joined to the index.", None, unit="URI")
    exact: bool = option("Compare every image, even if there is an approximate index.", False)
    verify: str | None = option(
        "Keep the hits that match an expression of questions, as in retrieve --where.", None, unit="EXPRESSION"
    )
    verify_model: str | None = option("Model that answers the questions of --verify.", None, unit="MODEL")
    candidates: int | None = option(
        f"Largest number of hits to verify. Default: {_CANDIDATES} × --top-k.", None, unit="N", ge=1, le=100_000
    )
    model: str | None = option("Model of the index, if it has moved.", None, unit="MODEL", group="Model")
    output: str = option(
        "Print a table or json, or write a .parquet or .json file.", TABLE, unit="table|json|FILE", group="Output"
    )
    gallery: str | None = option("HTML page of the hits to write.", None, unit="FILE", group="Output")

    @model_validator(mode="after")
    def _belongs_together(self) -> SearchSpec:
        if self.text is None and self.image is None:
            raise ValueError("wanted --text, --image or both")
        if self.text is not None and not self.text.strip():
            raise ValueError("--text: is blank")
        if self.verify is None:
            for name in _OF_VERIFY:
                if name in self.model_fields_set and getattr(self, name) is not None:
                    raise ValueError(f"--{name.replace('_', '-')}: only with --verify")
        elif self.verify_model is None:
            raise ValueError("--verify: wanted --verify-model too, which answers its questions")
        if self.candidates is not None and self.candidates < self.top_k:
            raise ValueError(f"--candidates {self.candidates}: wanted at least --top-k {self.top_k}")
        if self.output not in (TABLE, JSON) and not self.output.endswith(FILES):
            raise ValueError(f"--output {self.output}: wanted table, json or a file named *{' or *'.join(FILES)}")
        return self

    @property
    def wanted(self) -> int:
        """Candidates to find."""
        if self.verify is None:
            return self.top_k
        return self.candidates or _CANDIDATES * self.top_k
