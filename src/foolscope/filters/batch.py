"""A chain of filters on a batch: what every chain, search and attack runs through.

Without gradients it works in place, on a few images at a time, a chunk, that stay in the processor's cache.  How many
changes the result by rounding at most; the number of threads, which take whole chunks, not at all.  Where the images,
strengths or intensities require gradients it runs the pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from foolscope.errors import InputError
from foolscope.filters.canvas import Canvas
from foolscope.filters.effects import Amount
from foolscope.filters.in_place import InPlaceCanvas, Workspace
from foolscope.filters.styles import FILTERS, Filter
from foolscope.norms import expand

_CHUNK_VALUES = 2 * 3 * 224 * 224
"""Values of a chunk: with the memory to work in, as much as two cores' caches hold."""


def apply(
    filters: Sequence[str | type[Filter]],
    strength: Tensor | Sequence[Amount],
    intensity: Tensor | Sequence[Amount],
    images: Tensor,
) -> Tensor:
    """Apply m filters in a row to `images`, float (N, C, H, W) in [0, 1]: the same shape and range.

    `filters` are classes or their names.  `strength` (in [0, 1]) and `intensity` (above 0) have shape (m,), one chain
    for all images, or (m, N), each image its own parameters; or they are m numbers and tensors (N,).  Ranges are not
    checked.  Gradients flow to strengths, intensities and images.  Images in half precision are computed in float32.
    Raises `InputError` for other shapes, and for gray images and a filter that would color them.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise InputError(
            f"images must be floats of shape (N, C, H, W) with C 1 or 3, got {images.dtype}, {tuple(images.shape)}."
        )
    if images.dtype in (torch.float16, torch.bfloat16):
        return apply(filters, strength, intensity, images.float()).to(images.dtype)
    kinds = [FILTERS[kind] if isinstance(kind, str) else kind for kind in filters]
    for kind in kinds:
        if images.shape[1] == 1 and not kind.takes_gray:
            fitting = ", ".join(name for name, known in FILTERS.items() if known.takes_gray)
            raise InputError(f"{kind.name} would color gray images; {fitting} do not.")
    strengths, intensities = (
        _amounts(given, what, len(kinds), images) for given, what in ((strength, "strength"), (intensity, "intensity"))
    )
    steps = list(zip(kinds, strengths, intensities, strict=True))
    tensors = [images, *(amount for amount in (*strengths, *intensities) if isinstance(amount, Tensor))]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _with_gradients(steps, images)
    return _in_chunks([step for step in steps if isinstance(step[1], Tensor) or step[1] > 0], images.detach())


Step = tuple[type[Filter], Amount, Amount]
"""A filter, its strength and its intensity."""


def _amounts(given: Tensor | Sequence[Amount], what: str, count: int, images: Tensor) -> list[Amount]:
    """One number or tensor (N,) a filter.  Numbers that need no gradient leave their tensors."""
    if len(given) != count:
        raise InputError(f"{count} filters need {count} values of {what}, got {len(given)}.")
    if isinstance(given, Tensor) and given.ndim == 1 and not given.requires_grad:
        return list(given.tolist())
    amounts: list[Amount] = []
    for amount in given:
        if isinstance(amount, Tensor) and amount.ndim:
            if amount.shape != images.shape[:1]:
                shape = tuple(amount.shape)
                raise InputError(f"{what} must be one number a filter or one a filter and image, got shape {shape}.")
            amount = amount.to(images)
        amounts.append(amount)
    return amounts


def _with_gradients(steps: list[Step], images: Tensor) -> Tensor:
    for kind, strength, intensity in steps:
        canvas = Canvas(images)
        kind.paint(canvas, intensity)
        images = images + expand(strength, images) * (canvas.images - images)
    return images.clamp(0, 1)


def _in_chunks(steps: list[Step], images: Tensor) -> Tensor:
    out = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    if not steps or images.numel() == 0:
        return out.copy_(images)
    size = max(1, _CHUNK_VALUES // images[0].numel()) if images.device.type == "cpu" else len(images)
    begins = iter(range(0, len(images), size))

    def work() -> None:
        """Take chunks until there are none."""
        workspace = Workspace(min(size, len(images)), images)
        with torch.no_grad():
            for begin in begins:
                _paint(steps, images, out, slice(begin, begin + size), workspace)

    threads = min(torch.get_num_threads(), -(-len(images) // size))
    with _single_threads(threads) as pool:
        if pool is None:
            work()
        else:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()
    return out


def _paint(steps: list[Step], images: Tensor, out: Tensor, rows: slice, workspace: Workspace) -> None:
    """Filter some images, a chunk, into `out`."""
    now, target = images[rows].flatten(2).contiguous(), out[rows].flatten(2)
    for kind, strength, intensity in steps:
        canvas = InPlaceCanvas(now, workspace)
        kind.paint(canvas, _chosen(intensity, rows))
        now = torch.lerp(now, canvas.painted, _chosen(strength, rows), out=target)
    target.clamp_(0, 1)


@contextmanager
def _single_threads(count: int) -> Iterator[ThreadPoolExecutor | None]:
    """Threads in each of which torch works alone; None stands for the one that asks.

    Otherwise torch would share out every single operation to threads of its own and wait for the slowest, hundreds of
    times a chunk; where other processes are at work too, that takes a hundred times as long.
    """
    shared = torch.get_num_threads()
    try:
        # The number of threads belongs to the thread that sets it; only threads born later would inherit it.
        if count == 1:
            torch.set_num_threads(1)
            yield None
        else:
            with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
    finally:
        torch.set_num_threads(shared)


def _chosen(amount: Amount, rows: slice) -> Amount:
    """The amount of some samples, as `InPlaceCanvas` takes it."""
    return amount[rows].view(-1, 1, 1) if isinstance(amount, Tensor) and amount.ndim else amount
