"""What the benchmarks share: interleaved repetitions, medians, and the machine's own matrix multiplication."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

Job = Callable[[], object]


def interleaved(jobs: Mapping[str, Job], rounds: int, *, cold: bool = False) -> dict[str, list[float]]:
    """Seconds of every job in every round.

    Each round runs each job once, so that a machine that slows down slows all of them; a first round is not counted,
    unless `cold`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + (not cold)):
        for name, job in jobs.items():
            begun = time.perf_counter()
            job()
            if number or cold:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over the rounds of a / b, both of the same round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def matmul(dtype: torch.dtype, size: int = 2048) -> tuple[Job, float]:
    """A multiplication of two square matrices, and its floating-point operations."""
    a, b = (torch.rand(size, size, generator=torch.Generator().manual_seed(i)).to(dtype) for i in (0, 1))
    out = torch.empty(size, size, dtype=dtype)
    return lambda: torch.mm(a, b, out=out), 2.0 * size**3


def forward_flops(model: nn.Module, image: Tensor) -> float:
    """Floating-point operations of the convolutions and dense layers in a forward pass of one image (C, H, W)."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += 2.0 * output.numel() * weight[0].numel()

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    return total


def machine() -> str:
    """One line on processor, threads and torch."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [
            line.split(":", 1)[1].strip() for line in information.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
