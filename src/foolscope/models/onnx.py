"""ONNX graphs as black boxes: images in, logits out, no gradients.

The graph takes images in [0, 1] as every classifier here does: resizing and normalization belong into it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from foolscope.errors import CorruptError, InputError, MissingError
from foolscope.files import file_digest
from foolscope.models.classifier import Classifier, Shape, Task
from foolscope.models.model_spec import READY, Model, Status
from foolscope.models.weight_files import require
from foolscope.spec import parameter


class OnnxNetwork(nn.Module):
    """Logits (N, K) from an ONNX graph on the CPU, in as many runs as a fixed batch size needs.

    Raises `MissingError` where the file or onnxruntime is missing, `CorruptError` where it is no ONNX graph,
    `InputError` where its input or output is not that of a classifier, and in `forward` for NaN or a wrong shape.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._session = _open(path)
        self.digest = file_digest(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or inputs[0].type != "tensor(float)" or shape[1] not in (1, 3):
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise InputError(f"{path}: one float input (N, C, H, W) with C 1 or 3 is needed, the graph has {found}.")
        if len(outputs) != 1 or outputs[0].type != "tensor(float)":
            found = ", ".join(f"{o.name} {o.type} {o.shape}" for o in outputs)
            raise InputError(f"{path}: one float output (N, classes) is needed, the graph has {found}.")
        self._input = inputs[0].name
        self.batch = _fixed(shape[0])
        self.input_shape: Shape = (shape[1], _fixed(shape[2]), _fixed(shape[3]))
        self.num_classes = self._classes(outputs[0].shape)

    def _classes(self, shape: list[Any]) -> int:
        """The graph's number of classes; where it leaves that open, that of one black image."""
        classes = _fixed(shape[1]) if len(shape) == 2 else None
        channels, height, width = self.input_shape
        if classes is None and height is not None and width is not None:
            logits = self._run(np.zeros((self.batch or 1, channels, height, width), dtype=np.float32))
            classes = logits.shape[1] if logits.ndim == 2 else None
        if classes is None:
            raise InputError(f"{self.path}: the output must have shape (N, classes), the graph has {shape}.")
        return classes

    def forward(self, images: Tensor) -> Tensor:
        pixels = np.ascontiguousarray(images.detach().float().cpu().numpy())
        step = self.batch or max(1, len(pixels))
        logits = np.empty((len(pixels), self.num_classes), dtype=np.float32)
        for begin in range(0, len(pixels), step):
            part = pixels[begin : begin + step]
            # A graph with a fixed batch size gets black images behind the last ones.
            fill = [(0, self.batch - len(part) if self.batch else 0), (0, 0), (0, 0), (0, 0)]
            answer = self._run(np.pad(part, fill))
            if answer.shape != (len(part) + fill[0][1], self.num_classes):
                raise InputError(
                    f"{self.path}: expected logits of shape {(len(part) + fill[0][1], self.num_classes)}, "
                    f"got {answer.shape}."
                )
            logits[begin : begin + step] = answer[: len(part)]
        if not np.isfinite(logits).all():
            raise InputError(f"{self.path}: the graph answers with NaN or infinite logits.")
        return torch.from_numpy(logits).to(images.device)

    def _run(self, pixels: Any) -> Any:
        try:
            return self._session.run(None, {self._input: pixels})[0]
        except Exception as error:  # onnxruntime's errors share no public base class
            raise InputError(f"{self.path}: the graph fails ({_first_line(error)}).") from error

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which cannot be copied or sent to another process."""
        return {key: value for key, value in self.__dict__.items() if key != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file again."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._session = _open(self.path)


@dataclass(frozen=True, kw_only=True)
class OnnxModel(Model):
    """An ONNX graph."""

    name: ClassVar[str] = "onnx"
    argument: ClassVar[str | None] = "path"
    example: ClassVar[str] = "onnx:net.onnx"
    summary: ClassVar[str] = "an ONNX graph as a black box without gradients (pip install 'foolscope[onnx]')"
    source: ClassVar[str] = "onnx.ai, run by onnxruntime.ai"

    path: str = parameter(help="the .onnx file; it takes images in [0, 1] and gives logits")

    def build(self, task: Task | None, *, offline: bool = False) -> Classifier:
        """A classifier without gradients, its classes named by the task if there are as many."""
        network = OnnxNetwork(Path(self.path).expanduser())
        names = task.class_names if task and task.num_classes == network.num_classes else None
        return Classifier(
            network,
            name=self.spec(),
            input_shape=network.input_shape,
            num_classes=network.num_classes,
            class_names=names,
            weights=self.path,
            differentiable=False,
        ).eval()

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the file and onnxruntime are there."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Status("unavailable", "needs pip install 'foolscope[onnx]'")
        return READY if Path(self.path).expanduser().is_file() else Status("unavailable", f"{self.path}: no such file.")


def _open(path: Path) -> Any:
    runtime = require("onnxruntime", "onnx")
    if not path.is_file():
        raise MissingError(f"{path}: no such file.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no public base class
        raise CorruptError(f"{path}: not an ONNX graph that onnxruntime can read ({_first_line(error)}).") from None


def _fixed(side: Any) -> int | None:
    """A dimension of a graph: its size, or None where it is a name or open."""
    return side if isinstance(side, int) and side > 0 else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
