"""Expectation over transformation (Athalye, Engstrom, Ilyas and Kwok 2018, arXiv 1707.07397): averaged gradient passes.

    dL/dx = 1/n sum_i d/dx loss(f_i(x))        f_i: the network with its random choices drawn for the i-th time

A network that draws random numbers, for instance behind a randomized defense, has a gradient that is as random: one
draw's leads astray.  An `Expectation` in the place of a network gives every gradient attack the mean of n instead; the
attack needs no word of its own about it.  What is judged stays the network as it is: `logits` are those of one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from foolscope.errors import ParameterError
from foolscope.models.engine import ClassGradients, Engine, Gradients, Objective, Precision, chunk_size


class Expectation(Engine):
    """An `Engine` whose gradient passes are means over `draws` of the model's random choices.

    Logits, losses and gradients of a pass are averaged; an image is marked as broken if it is in one draw.  A pass
    costs `draws` passes.  Few images are repeated until they fill a chunk, so that several draws run at once.
    Raises `ParameterError` for fewer than one draw, else what an `Engine` raises.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        draws: int = 16,
        precision: Precision = "float32",
        device: torch.device | str | None = None,
        chunk: int | None = None,
    ) -> None:
        if not isinstance(draws, int) or isinstance(draws, bool) or draws < 1:
            raise ParameterError(f"draws must be a whole number, at least 1, got {draws!r}.")
        super().__init__(model, precision=precision, device=device, chunk=chunk)
        self.draws = draws

    def gradients(self, images: Tensor, objective: Objective) -> Gradients:
        count = len(images)
        if count == 0:
            return super().gradients(images, objective)

        def repeated(logits: Tensor, rows: Tensor) -> Tensor:
            return objective(logits, rows % count)

        def draw(times: int) -> Gradients:
            return Engine.gradients(self, _tiled(images, times), repeated)

        return Gradients(**self._mean(images, draw))

    def class_gradients(self, images: Tensor, classes: Tensor, labels: Tensor) -> Iterator[ClassGradients]:
        for rows in self._chunks(images):
            given = images[rows], classes[rows], labels[rows]

            def draw(times: int, given: tuple[Tensor, Tensor, Tensor] = given) -> ClassGradients:
                # They are one chunk, because they do not outnumber it.
                (found,) = Engine.class_gradients(self, *(_tiled(values, times) for values in given))
                return found

            yield ClassGradients(rows=rows, **self._mean(given[0], draw))

    def _mean(self, images: Tensor, draw: Callable[[int], Gradients | ClassGradients]) -> dict[str, Tensor]:
        """The means over all draws of what `draw`, told how many to do at once, finds out about `images`."""
        count, totals = len(images), dict[str, Tensor]()
        at_once = max(1, (self.chunk or chunk_size(images)) // count)
        for begin in range(0, self.draws, at_once):
            found = draw(min(at_once, self.draws - begin))
            for name, values in vars(found).items():
                if isinstance(values, Tensor):
                    several = values.view(-1, count, *values.shape[1:])
                    total = several.any(0) if values.dtype == torch.bool else several.sum(0)
                    totals[name] = totals[name] + total if begin else total
        return {name: total if total.dtype == torch.bool else total / self.draws for name, total in totals.items()}


def _tiled(values: Tensor, times: int) -> Tensor:
    """The batch `values` (N, ...) so many times behind itself."""
    return values.repeat(times, *[1] * (values.ndim - 1))
