"""A chat checkpoint's own processor, put together without torchvision where that is absent."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqa_ray.models.checkpoint.json_files import image_processor_config


def without_video(processor: type) -> type:
    """Return a processor class that takes None for its video processor, which would need torchvision."""

    class ImageOnly(processor):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor" and argument is None:
                return type(None)
            return super().check_argument_for_proper_class(argument_name, argument)

        def apply_chat_template(self, *conversation: Any, **options: Any) -> Any:
            # Importing it takes seconds, and this module is imported by every training.
            from transformers import ProcessorMixin

            # SmolVLM's own asks the video processor how it samples, whether there is a video or not.
            return ProcessorMixin.apply_chat_template(self, *conversation, **options)

    ImageOnly.__name__ = ImageOnly.__qualname__ = processor.__name__
    return ImageOnly


def with_tensor_patches(images: type) -> type:
    """Return Fuyu's Pillow image processor with patches of tensors: its own takes arrays, its processor has tensors."""

    class TensorPatches(images):  # type: ignore[misc]
        def patchify_image(self, image: Tensor, patch_size: Any = None) -> Tensor:
            return torch.from_numpy(super().patchify_image(image.numpy(), patch_size))[None]

    TensorPatches.__name__ = TensorPatches.__qualname__ = images.__name__
    return TensorPatches


def load_processor(path: Path, config: Any) -> Any:
    """Load the processor of a checkpoint; without torchvision it is put together from parts that do without it."""
    processor = _load(path, config.model_type)
    if getattr(processor, "patch_size", 0) is None:
        # A LLaVA processor saved by transformers before 4.45, which left to the model how images are cut.
        processor.patch_size = config.vision_config.patch_size
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
        # CLIP's class token, which the strategy counts on.
        processor.num_additional_image_tokens = 1
    return processor


def _load(path: Path, model_type: str) -> Any:
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(model_type)
    if not isinstance(name, str) or importlib.util.find_spec("torchvision") is not None:
        return transformers.AutoProcessor.from_pretrained(path, local_files_only=True)
    kind: Any = without_video(getattr(transformers, name))
    parts = {
        "image_processor": lambda: _image_processor_class(path).from_pretrained(path, local_files_only=True),
        # Fuyu's processor has a way of its own.
        "tokenizer": lambda: kind._load_tokenizer_from_pretrained("tokenizer", path, local_files_only=True),
    }
    loaded = [parts[attribute]() if attribute in parts else None for attribute in kind.get_attributes()]
    settings, _ = kind.get_processor_dict(path, local_files_only=True)
    return kind.from_args_and_dict(loaded, settings)


def _image_processor_class(path: Path) -> Any:
    """Return the image processor that works on Pillow's images, where there is one of that name."""
    import transformers

    kind = str(image_processor_config(path).get("image_processor_type", ""))
    pillow = f"{kind.removesuffix('Fast').removesuffix('Pil')}Pil"
    found: Any = getattr(transformers, pillow, transformers.AutoImageProcessor)
    return with_tensor_patches(found) if pillow == "FuyuImageProcessorPil" else found
