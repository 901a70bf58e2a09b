"""The start of vLLM's engine, and the reason why it does not start."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqa_ray.errors import one_line

_ERROR = re.compile(r"[A-Z]\w*(?:Error|Exception): .+")
# In what vLLM says where the cause is in the output of another process.
_REFERS = "root cause"
# Characters of a reason.
_REASON = 400
# Lines of the engine's processes that are kept to tell why it did not start.
_KEPT_LINES = 400


async def start(options: Mapping[str, Any], adapter: Path | None) -> tuple[Any, Any]:
    """Start an engine, and load an adapter into it: (engine, the adapter as requests name it)."""
    # Standard output is the command's: `search --output json`.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    from vllm import AsyncEngineArgs
    from vllm.config import StructuredOutputsConfig
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

    # The grammars of our own engine.
    held = StructuredOutputsConfig(backend="guidance", disable_any_whitespace=True)
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**{"structured_outputs_config": held, **options}))
    if adapter is None:
        return engine, None
    lora = LoRARequest("adapter", 1, str(adapter))
    await engine.add_lora(lora)
    return engine, lora


@contextmanager
def last_lines() -> Iterator[deque[str]]:
    """Collect the last lines that this process and its children write, and pass them on.

    The reason why an engine does not start stands in the output of its processes, and nowhere else. They inherit the
    pipe, which a thread empties for as long as one of them lives.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    reading, writing = os.pipe()
    kept = [os.dup(1), os.dup(2)]

    def forward() -> None:
        with os.fdopen(reading, "rb", closefd=True) as source:
            for line in source:
                os.write(kept[1], line)
                lines.append(line.decode(errors="replace").rstrip())

    threading.Thread(target=forward, name="vqa-ray-vllm-output", daemon=True).start()
    for number in (1, 2):
        os.dup2(writing, number)
    os.close(writing)
    try:
        yield lines
    finally:
        for number, original in zip((1, 2), kept, strict=True):
            os.dup2(original, number)
        # The other copy is what the thread passes lines on to.
        os.close(kept[0])


def reason(error: Exception, lines: Sequence[str]) -> str:
    """Return the cause: vLLM's own message, or the last error that its processes wrote."""
    text = one_line(f"{type(error).__name__}: {error}", _REASON)
    if _REFERS not in text:
        return text
    written = [found[0] for line in lines if _REFERS not in line and (found := _ERROR.search(line))]
    return one_line(written[-1], _REASON) if written else text
