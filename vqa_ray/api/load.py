"""The entrance of the API: a model by its name."""

from __future__ import annotations

from vqa_ray.api.engine import ImageOptions
from vqa_ray.api.model import Model
from vqa_ray.images.decode import ImageLimits
from vqa_ray.models.load import ModelOptions


def load(
    model: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    compile: bool = False,
    prompt_template: str | None = None,
    max_new_tokens: int | None = None,
    num_beams: int | None = None,
    batch_size: int = 32,
    allow_http: bool = False,
    limits: ImageLimits | None = None,
    fast_decode: bool = False,
) -> Model:
    """Load a model.

    Args:
        model: a hub name (`org/name@revision`), a directory or URI in `save_pretrained` layout, `bundled:NAME` or
            `fake:`.
        device, dtype, compile, prompt_template, max_new_tokens, num_beams: see `vqa_ray.models.load.ModelOptions`.
        batch_size: images that go to the model at once.
        allow_http: fetch http:// and https:// images.
        limits: what an image may cost.
        fast_decode: decode JPEG at a fraction of its size that still covers the model's.

    Raises:
        RequestError: no such model, weights that do not fit, an option that the family knows nothing of.
    """
    options = ModelOptions(model, device, dtype, compile, prompt_template, max_new_tokens, num_beams)
    return Model(options, ImageOptions(limits or ImageLimits(), allow_http, fast_decode, batch_size))
