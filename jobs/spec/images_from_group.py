"""The options of images that lie apart from the rows."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vqa_ray.jobs.spec.field import Spec, option


class ImagesFromGroup(Spec):
    """Where the images of rows are that hold none themselves."""

    group: ClassVar[str] = "Input"

    images_from: str | None = option(
        "Where the images of the rows are: a folder, a table or archive of images, or index:URI.",
        None,
        unit="URI",
        omit_default_from_fingerprint=True,
    )
    images_key: str | None = option(
        "Column that names a row's image in --images-from; COLUMN=THEIRS where it has another name there.",
        None,
        unit="COLUMN[=THEIRS]",
        omit_default_from_fingerprint=True,
    )

    @model_validator(mode="after")
    def _key_and_images_belong_together(self) -> ImagesFromGroup:
        if (self.images_from is None) != (self.images_key is None):
            missing = "--images-from" if self.images_from is None else "--images-key"
            raise ValueError(f"--images-from and --images-key: wanted both, or neither; {missing} is not given")
        if self.images_key is not None and not all(self.images_key.split("=", 1)):
            raise ValueError(f"--images-key {self.images_key}: wanted COLUMN, or COLUMN=THEIRS")
        return self

    def key_columns(self) -> tuple[str, str | None]:
        """Return the column of the key in the rows, and its name in the image table where it was given."""
        ours, _, theirs = (self.images_key or "").partition("=")
        return ours, theirs or None
