"""Decode images in a child process, so that an image that kills its decoder fails alone.

The child takes about a second to start, so it serves only batches over which a worker has died before.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from vqa_ray.child_process import ChildDiedError, ChildProcess, serve
from vqa_ray.errors import ErrorCode, RowError
from vqa_ray.images.decoder import ImageLimits
from vqa_ray.images.sized import SizedImage, decode_sized
from vqa_ray.process import prepare_for_decoding
from vqa_ray.types import ImageTransform

ISOLATED_TIMEOUT_S = 120.0


class IsolatedDecoder:
    """A child process that decodes one image after another; a new one starts when it dies.

    Args:
        transform: gives the model's image size; importable in a fresh Python process.
        limits: of an image.
        fast: decode JPEG at a fraction of its size.
        timeout_s: a decoder that takes longer counts as crashed.
    """

    def __init__(
        self, transform: ImageTransform, limits: ImageLimits, fast: bool, timeout_s: float = ISOLATED_TIMEOUT_S
    ) -> None:
        self._settings = (transform, limits, fast)
        self._timeout_s = timeout_s
        self._child = ChildProcess("vqa_ray.stages.isolated_decoder")

    def decode(self, data: bytes) -> SizedImage:
        """Decode an image, see `decode_sized`.

        Raises:
            RowError: as there; `row_crashed` when the child process died or took longer than `timeout_s`.
        """
        try:
            if not self._child.is_running:
                # On a busy machine the start takes its time, which is not that of the image.
                self._child.ask(self._settings, ISOLATED_TIMEOUT_S)
            outcome = self._child.ask(data, self._timeout_s)
        except ChildDiedError as error:
            raise RowError(ErrorCode.ROW_CRASHED, f"decoding the image {error}") from error
        if isinstance(outcome, BaseException):
            raise outcome
        image: SizedImage = outcome
        return image

    def close(self) -> None:
        """End the child process, if there is one."""
        self._child.close()

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Decoder:
    """The child's side: takes (transform, limits, fast) first, then images."""

    def __init__(self) -> None:
        prepare_for_decoding()
        self._settings: tuple[ImageTransform, ImageLimits, bool] | None = None

    def __call__(self, message: Any) -> SizedImage | Exception | bool:
        """Return True to the settings, and the outcome to an image."""
        if self._settings is None:
            self._settings = message
            return True
        transform, limits, fast = self._settings
        try:
            return decode_sized(message, limits, transform, fast=fast)
        except Exception as error:  # noqa: BLE001  The parent process raises it again.
            return error


def main() -> None:
    """Run the child."""
    serve(_Decoder())


if __name__ == "__main__":
    main()
