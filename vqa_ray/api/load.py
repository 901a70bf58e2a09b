"""The entrance of the API: a model by its name."""

from __future__ import annotations

from vqa_ray.api.endpoint import EndpointSettings, endpoint_options
from vqa_ray.api.engine import ImageOptions
from vqa_ray.api.model import Model
from vqa_ray.images.decoder import ImageLimits
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
    base_url: str | None = None,
    endpoint: EndpointSettings | None = None,
) -> Model:
    """Load a model.

    Args:
        model: a hub name (`org/name@revision`), a directory or URI in `save_pretrained` layout, `bundled:NAME`,
            `openai:NAME` or `fake:`.
        device: `cpu`, `cuda`, `cuda:1`, …; None takes CUDA where there is one.
        dtype: `float32`, `bfloat16` or `float16`; None takes the best of the device.
        compile: run the network through `torch.compile` (CUDA only).
        prompt_template: a style or a template of the question, of generative models that take one.
        max_new_tokens: the most tokens of an answer or caption; of generative models.
        num_beams: of the search; of generative models.
        batch_size: images that go to the model at once.
        allow_http: fetch http:// and https:// images; also allows http:// to an endpoint on another machine.
        limits: the limits of an image: bytes, pixels, sides, frames.
        fast_decode: decode JPEG at a fraction of its size that still covers the model's.
        base_url: of the endpoint that serves `openai:NAME`, e.g. `http://localhost:8000/v1`.
        endpoint: its settings, see `vqa_ray.api.endpoint.EndpointSettings`.

    Raises:
        RequestError: no such model, weights that do not fit, an option that the family knows nothing of.
    """
    served = endpoint_options(model, base_url, endpoint, allow_http=allow_http)
    options = ModelOptions(model, device, dtype, compile, prompt_template, max_new_tokens, num_beams, endpoint=served)
    return Model(options, ImageOptions(limits or ImageLimits(), allow_http, fast_decode, batch_size))
