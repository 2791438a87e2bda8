"""Input gradients of several classes: one forward pass, and a backward pass a class that shares its activations.

The classes are looped over: torch's batched backward passes take a third longer on processors (LeNet and `cifar-cnn`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from foolscope.models.counting import Queries
from foolscope.models.engine import _DTYPES


@dataclass(frozen=True)
class ClassGradients:
    """Of the images `rows` of a batch: logits (n, K), and how fast each of k classes gains (n, k, C, H, W)."""

    rows: slice
    logits: Tensor
    gradients: Tensor


def class_gradients(
    queries: Queries, images: Tensor, rows: Tensor, classes: Tensor, labels: Tensor
) -> Iterator[ClassGradients]:
    """The gradients of z_k - z_y for `classes` k (N, k) and `labels` y (N,), chunk by chunk.

    `rows` number the images for the count, which rises by 1 forward and k backward passes.  Raises `InputError` for
    logits and gradients that are not finite, as `Engine.gradients` does.
    """
    engine = queries.engine
    queries.forwards[rows.cpu()] += 1
    queries.backwards[rows.cpu()] += classes.shape[1]
    network = engine._network(_DTYPES[engine.precision], images)
    for chunk in engine._chunks(images):
        with torch.enable_grad(), engine._guard(network):
            x = network.moved(images[chunk]).requires_grad_()
            logits = engine._checked(engine._answer(network, x), chunk)
            own = logits.gather(1, labels[chunk, None].to(logits.device))
            gains = (logits.gather(1, classes[chunk].to(logits.device)) - own).sum(0)
            found = [torch.zeros_like(x)] * len(gains)  # where nothing that the images do changes the answers
            if logits.requires_grad:
                for place, gain in enumerate(gains):
                    more = place + 1 < len(gains)
                    (gradient,) = torch.autograd.grad(gain, x, retain_graph=more, materialize_grads=True)
                    found[place] = engine._finite(gradient, "has NaN or infinite gradients", chunk)
        yield ClassGradients(chunk, logits.detach().to(images), torch.stack(found, 1).detach().to(images))
