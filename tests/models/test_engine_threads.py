"""Folding BatchNorm traces a module by torch.fx, which intercepts the calls of all threads' modules meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from foolscope.models import load_model
from foolscope.models.engine import Engine, fold_batchnorm
from foolscope.randomness import generator


def test_networks_run_and_fold_while_others_are_folded() -> None:
    engine, network = Engine(load_model("cifar-cnn")), load_model("resnet20")
    images = torch.rand(2, 3, 32, 32, generator=generator(0))
    expected = engine.logits(images)
    done = threading.Event()

    def run() -> int:
        count = 0
        while not done.is_set():
            assert torch.equal(engine.logits(images), expected)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(run) for _ in range(2)]
        folding = [pool.submit(fold_batchnorm, network) for _ in range(12)]
        folded = [future.result() for future in folding]
        done.set()
        assert all(future.result() for future in running)
    assert all(copy is not None for copy in folded)
