"""A CUDA device without a GPU: tensors that say `cuda:0`, hold CPU memory and count what makes the host wait.

    with SimulatedCuda() as device:
        model = Vilt.from_checkpoint(checkpoint, device="cuda")
        with device.counting() as waits:
            model.answer(images, questions, 1)
    assert sum(waits.values()) <= 1

A tensor of the device refuses to meet one of the host, as on CUDA, and a copy between both waits unless it is
non-blocking, which from the host takes pinned memory. `capacity` bounds the memory in bytes; what does not fit raises
`torch.OutOfMemoryError`. Backward, autocast and half precision work.

How: the tensors are wrappers (C++ sees `meta`, Python sees `cuda:0`) under a dispatch mode, and `torch.cuda` answers
for a device. Limits: inference mode is `no_grad`; kernels, and so rounding, are the CPU's; streams are one; autocast
covers products alone; tensors of the device cannot be saved or sent to another process.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self
from unittest import mock

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
# Operators whose result has a shape or a value that the host must know.
_READING = {
    "_local_scalar_dense": "a number read",
    "is_nonzero": "a number read",
    "equal": "tensors compared",
    "nonzero": "rows found",
    "masked_select": "rows found",
    "_unique2": "rows found",
    "unique_dim": "rows found",
    "unique_consecutive": "rows found",
    "bincount": "rows found",
}
_MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
_COPYING = ("_to_copy", "copy_")
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
# The device whose context is entered; there is one at most.
_current: list[SimulatedCuda] = []


class DeviceTensor(torch.Tensor):
    """A tensor of the simulated device.

    Attributes:
        host: the CPU tensor that holds its numbers.
    """

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> DeviceTensor:
        made: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device("meta"),
        )
        made.host = host
        return made

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    @property
    def is_meta(self) -> bool:
        return False

    def __repr__(self, **_: Any) -> str:
        return f"{self.host!r} on {CUDA}"

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        return memo.setdefault(id(self), copied)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _current[0].run(func, args, kwargs or {})

    def tolist(self) -> Any:
        _current[0].wait("a tensor read")
        return self.host.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy


class SimulatedCuda(TorchDispatchMode):
    """The device; see the module.

    Args:
        capacity: bytes of memory; without, none is counted.

    Attributes:
        waits: what made the host wait, by kind and place (file:line function), since `counting` began.
        allocated, peak: bytes in use, and the most there were; with a capacity only.
    """

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()
        self.capacity = capacity
        self.waits: Counter[str] = Counter()
        self.allocated = self.peak = 0
        self._storages: Counter[int] = Counter()
        # Pinned memory is kept, so that no other tensor comes to lie at its address.
        self._pinned: dict[int, torch.Tensor] = {}
        self._patches = contextlib.ExitStack()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count the waits of this context, and yield them."""
        before, self.waits = self.waits, Counter()
        try:
            yield self.waits
        finally:
            self.waits = before + self.waits

    def __enter__(self) -> Self:
        assert not _current, "one device at a time"
        _current.append(self)
        for target, name, new in _replacements(self):
            self._patches.enter_context(mock.patch.object(target, name, new))
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._patches.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()
        _current.remove(self)

    def wait(self, kind: str) -> None:
        """Note that the host waits, and for whom: the last of our frames, or of a model of transformers."""
        frame = sys._getframe(1)
        while frame is not None:
            path = frame.f_code.co_filename
            if "/vqa_ray/" in path or "/pipelines/" in path or "/transformers/" in path:
                short = path.rsplit("/site-packages/")[-1].rsplit("/vqa_ray/")[-1]
                self.waits[f"{kind} at {short}:{frame.f_lineno} {frame.f_code.co_name}"] += 1
                return
            frame = frame.f_back  # type: ignore[assignment]
        self.waits[kind] += 1

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a host tensor in pinned memory."""
        if isinstance(tensor, DeviceTensor):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
        with _disable_current_modes():
            copied = tensor.detach().clone(memory_format=torch.contiguous_format)
        self._pinned[copied.untyped_storage().data_ptr()] = copied
        return copied

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Return whether a host tensor lies in pinned memory."""
        return not tensor.numel() or tensor.untyped_storage().data_ptr() in self._pinned

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operator on the CPU, as the device would have done it."""
        if func is torch.ops.prim.device.default:
            return CUDA if isinstance(args[0], DeviceTensor) else args[0].device
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else str(func)
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        ours = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
        wanted = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
        inner = name == "scalar_tensor" or torch._C._current_autograd_node() is not None
        if wanted == "meta" and (ours or inner):
            # C++ asks for a number, and autograd for a gradient, where it saw a tensor of ours.
            wanted = "cuda"
        on_device = bool(ours) if wanted is None else wanted == "cuda"
        if name == "copy_":
            on_device = isinstance(args[0], DeviceTensor)
        self._count(name, args, kwargs, on_device)
        self._refuse_mixture(name, tensors, ours)
        given = dict(kwargs)
        pinned = bool(given.get("pin_memory")) and not on_device
        given.pop("pin_memory", None)
        if wanted == "cuda":
            given["device"] = torch.device("cpu")
        with _disable_current_modes():
            plain_args, plain_kwargs = tree_map(_host, args), tree_map(_host, given)
            if name == "histc" and not plain_args[0].is_floating_point():
                # Whole numbers are counted by CUDA alone.
                found = func(plain_args[0].float(), *plain_args[1:], **plain_kwargs).to(plain_args[0].dtype)
            else:
                found = func(*plain_args, **plain_kwargs)
        if pinned:
            self._pinned[found.untyped_storage().data_ptr()] = found
        if not on_device:
            return found
        known = {id(tensor.host): tensor for tensor in ours}
        return tree_map(lambda value: self._placed(value, known), found)

    def _placed(self, value: Any, known: dict[int, DeviceTensor]) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, DeviceTensor):
            return value
        if id(value) in known:
            return known[id(value)]
        made = DeviceTensor(value)
        if self.capacity is not None:
            self._allocate(made)
        return made

    def _allocate(self, made: DeviceTensor) -> None:
        assert self.capacity is not None
        storage = made.host.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not self._storages[place]:
            if self.allocated + size > self.capacity:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes (simulated)")
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
        self._storages[place] += 1
        weakref.finalize(made, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self._storages[place] -= 1
        if not self._storages[place]:
            self.allocated -= size

    def _count(self, name: str, args: Any, kwargs: dict[str, Any], on_device: bool) -> None:
        """Note whether an operator makes the host wait."""
        first = args[0] if args else None
        if isinstance(first, torch.Tensor) and not first.numel():
            return
        of_device = isinstance(first, DeviceTensor)
        if name in _READING and of_device:
            self.wait(_READING[name])
        elif name == "repeat_interleave" and of_device and kwargs.get("output_size") is None:
            self.wait("rows found")
        elif name in _COPYING:
            source = args[1] if name == "copy_" else first
            unblocked = bool(kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            if isinstance(source, DeviceTensor) and not on_device and not unblocked:
                self.wait("a copy to the host")
            elif on_device and not isinstance(source, DeviceTensor) and not (unblocked and self.is_pinned(source)):
                self.wait("a copy from memory that is not pinned" if unblocked else "a copy to the device")
        elif name in _INDEXING and of_device:
            for index in args[1]:
                if isinstance(index, torch.Tensor) and not isinstance(index, DeviceTensor) and index.dim():
                    self.wait("an index of the host")
                elif isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8):
                    self.wait("rows found")

    def _refuse_mixture(self, name: str, tensors: list[torch.Tensor], ours: list[DeviceTensor]) -> None:
        if not ours or name in _COPYING or name in _INDEXING:
            return
        if any(tensor.dim() and not isinstance(tensor, DeviceTensor) for tensor in tensors):
            raise RuntimeError(f"{name}: {_MIXED}")


def _host(value: Any) -> Any:
    return value.host if isinstance(value, DeviceTensor) else value


class _Stream:
    """The one stream, and any event on it: what was asked of them has always happened already."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = CUDA

    def synchronize(self) -> None:
        _current[0].wait("a stream or an event")

    def record(self, *_: Any) -> None: ...
    def wait(self, *_: Any) -> None: ...
    def wait_stream(self, *_: Any) -> None: ...
    def wait_event(self, *_: Any) -> None: ...
    def query(self) -> bool:
        return True


def _replacements(device: SimulatedCuda) -> Iterator[tuple[Any, str, Any]]:
    """What answers for a device while its context is entered: (module or class, name, replacement)."""
    plenty = 80 << 30

    def free(*_: Any) -> tuple[int, int]:
        total = plenty if device.capacity is None else device.capacity
        return total - device.allocated, total

    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "is_initialized": lambda: False,
        "_lazy_init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda *_: None,
        "mem_get_info": free,
        "empty_cache": lambda: None,
        "memory_allocated": lambda *_: device.allocated,
        "max_memory_allocated": lambda *_: device.peak,
        "synchronize": lambda *_: device.wait("the whole device"),
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_capability": lambda *_: (9, 0),
        "get_device_name": lambda *_: "simulated",
        "is_current_stream_capturing": lambda: False,
        "current_stream": _Stream,
        "Stream": _Stream,
        "Event": _Stream,
        "stream": lambda *_: contextlib.nullcontext(),
    }
    yield from ((torch.cuda, name, answer) for name, answer in answers.items())

    to = torch.Tensor.to

    def indexed(value: Any) -> Any:
        is_cuda = isinstance(value, str | torch.device) and torch.device(value).type == "cuda"
        return CUDA if is_cuda else value

    def moved(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return to(self, *map(indexed, args), **{name: indexed(value) for name, value in kwargs.items()})

    yield torch.Tensor, "to", moved
    yield torch.Tensor, "cuda", lambda self, *_, **__: self.to(CUDA)
    yield torch.Tensor, "pin_memory", lambda self, *_: device.pin(self)
    yield torch.Tensor, "is_pinned", lambda self, *_: device.is_pinned(self)
    for name in ("tensor", "as_tensor"):
        yield torch, name, _from_data(getattr(torch, name))
    # Views of wrappers cannot be made in inference mode.
    yield torch.inference_mode, "__enter__", _enter_no_grad
    yield torch.inference_mode, "__exit__", lambda self, *error: self._replaced.__exit__(*error)
    attention = "scaled_dot_product_attention"
    yield F, attention, _attention(getattr(F, attention))
    for target, name in ((F, "linear"), (torch, "matmul"), (torch.Tensor, "__matmul__")):
        yield target, name, _autocast(getattr(target, name))


def _enter_no_grad(self: Any) -> None:
    self._replaced = torch.no_grad()
    self._replaced.__enter__()


def _from_data(real: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor`, which makes a tensor on the host and then copies it."""

    def number(value: Any) -> Any:
        return value.item() if isinstance(value, DeviceTensor) else value

    def make(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if isinstance(data, list | tuple):
            data = tree_map(number, data)
        if isinstance(data, DeviceTensor):
            made = data.detach().clone()
            return made if kwargs.get("dtype") is None else made.to(kwargs["dtype"])
        if device is None or torch.device(device).type != "cuda":
            return real(data, *args, device=device, **kwargs)
        return real(data, *args, **kwargs).to(CUDA)

    return make


def _attention(real: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The fused kernel; where it is differentiated, its formula."""

    def attend(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, **options: Any) -> Any:
        tensors = [each for each in (query, key, value, attn_mask) if each is not None]
        if not any(isinstance(each, DeviceTensor) for each in tensors):
            return real(query, key, value, attn_mask, dropout_p, **options)
        if not all(isinstance(each, DeviceTensor) for each in tensors):
            raise RuntimeError(f"attention: {_MIXED}")
        if not torch.is_grad_enabled():
            with _disable_current_modes():
                return DeviceTensor(real(*map(_host, (query, key, value, attn_mask)), dropout_p, **options))
        query, key, value = _lowered(query), _lowered(key), _lowered(value)
        if options.get("enable_gqa"):
            shared = query.shape[-3] // key.shape[-3]
            key, value = (each.repeat_interleave(shared, -3, output_size=query.shape[-3]) for each in (key, value))
        if options.get("is_causal"):
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=CUDA).tril()
        scores = query @ (key * (options.get("scale") or query.shape[-1] ** -0.5)).transpose(-1, -2)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if hidden else scores + attn_mask
        return F.dropout(scores.softmax(dim=-1), dropout_p) @ value

    return attend


def _autocast(real: Callable[..., Any]) -> Callable[..., Any]:
    """A product whose operands are lowered where autocast says so."""
    return lambda *args, **kwargs: real(
        *map(_lowered, args), **{name: _lowered(value) for name, value in kwargs.items()}
    )


def _lowered(value: Any) -> Any:
    if isinstance(value, DeviceTensor) and value.dtype == torch.float32 and torch.is_autocast_enabled("cuda"):
        return value.to(torch.get_autocast_dtype("cuda"))
    return value
