"""What can be asked of `search`: a strict model from which its command line is made."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from vqa_ray.jobs.spec.base import option
from vqa_ray.predicates.predicate import Algebra

TABLE, JSON = "table", "json"
FILES = (".parquet", ".json")
# Candidates per hit that is wanted, where they are verified.
_CANDIDATES = 4
_OF_VERIFY = ("verify_model", "candidates", "calibration", "threshold", "combine", "prompt_template")


class SearchSpec(BaseModel):
    """Find the images of an index that are most like a text, an image or both; a VQA model may have the last word."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    index: str = option("Index to search, which `vqa-ray index` made.", unit="INDEX", argument=True)
    text: str | None = option('What to look for in words: "a red mug with a dog".', None, unit="TEXT")
    image: str | None = option("What to look for as an image; with --text the mean of both scores.", None, unit="URI")
    top_k: int = option("Hits to give.", 10, unit="N", ge=1, le=100_000)
    filter: str | None = option(
        "SQL condition on the columns of the index and its tags: \"category = 'mug'\".", None, unit="CONDITION"
    )
    tags: str | None = option("Run of `vqa-ray tag` whose columns join those of the index.", None, unit="URI")
    exact: bool = option("Look at every image, also where the index has an approximate one.", False)
    verify: str | None = option(
        "Keep the hits that fit an expression of questions, as retrieve's --where.", None, unit="EXPRESSION"
    )
    verify_model: str | None = option("Model that answers the questions of --verify.", None, unit="MODEL")
    candidates: int | None = option(
        f"Hits to verify until enough fit; {_CANDIDATES} × --top-k without.", None, unit="N", ge=1, le=100_000
    )
    calibration: str | None = option("What `vqa-ray calibrate` wrote for --verify-model.", None, unit="FILE")
    threshold: float = option("Least score of --verify that fits.", 0.5, unit="0..1", ge=0, le=1)
    combine: Algebra = option("How scores are joined: and = min, or = max; or as of independent events.", "min-max")
    prompt_template: str | None = option(
        "How a generative model is asked: question, lavis, plain, or a text with {} for the question.",
        None,
        unit="STYLE|TEXT",
    )
    model: str | None = option(
        "The index's model, where it has moved; the one it was built with without.", None, unit="MODEL"
    )
    output: str = option("table, json, or a .parquet or .json file to write.", TABLE, unit="table|json|FILE")
    gallery: str | None = option("HTML page of the hits to write too.", None, unit="FILE")
    device: str | None = option("Device of the models: cpu, cuda; the best found without.", None)
    dtype: Literal["float32", "bfloat16", "float16"] | None = option(
        "Precision of the models; the device's best without.", None
    )
    allow_http: bool = option("Also fetch images from http:// and https:// URIs.", False)
    max_image_bytes: int = option("Larger encoded images are refused.", 64 * 2**20, unit="BYTES", ge=1)
    max_image_pixels: int = option("Larger images are refused.", 100_000_000, unit="PIXELS", ge=1)
    quiet: bool = option("Print warnings and errors only.", False, command=False)
    log_format: Literal["text", "json"] = option("Form of the messages on standard error.", "text", command=False)

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
