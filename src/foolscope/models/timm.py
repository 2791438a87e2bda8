"""Networks of timm (Wightman 2019, github.com/huggingface/pytorch-image-models) and timm networks on the hub.

Files are looked for in `FOOLSCOPE_DATA/OWNER/NAME/` (config.json, model.safetensors), then in the hub's cache in
`FOOLSCOPE_HOME/hub`, then downloaded.  Only safetensors are read.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from foolscope.errors import CorruptError, InputError, MissingError, SpecError, nearest
from foolscope.files import data_folder, home, is_offline, storage_error
from foolscope.models import imagenet
from foolscope.models.architectures import seeded
from foolscope.models.classifier import Classifier, Normalize, Resize, Task
from foolscope.models.model_spec import AUTO, NONE, READY, Model, Status
from foolscope.models.weight_files import require
from foolscope.randomness import MAX_SEED
from foolscope.spec import parameter

logger = logging.getLogger("foolscope")

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True)
class TimmModel(Model):
    """A network that timm registers."""

    name: ClassVar[str] = "timm"
    argument: ClassVar[str | None] = "network"
    example: ClassVar[str] = "timm:resnet18.a1_in1k"
    summary: ClassVar[str] = "any network of timm with its weights (pip install 'foolscope[timm]')"
    source: ClassVar[str] = "Wightman 2019, github.com/huggingface/pytorch-image-models"

    network: str = parameter(help="the network's name in timm, with the weights' tag after a dot")
    weights: str = parameter(AUTO, "auto: timm's; none: random", choices=(AUTO, NONE))
    seed: int = parameter(0, "seed of the random weights", low=0, high=MAX_SEED)

    def build(self, task: Task | None, *, offline: bool = False) -> Classifier:
        """A classifier of images of any size.  Raises `MissingError`, `SpecError` and `CorruptError`."""
        timm = require("timm", "timm")
        repository = self._repository(timm)
        if self.weights == NONE:
            options: dict[str, Any] = {"num_classes": task.num_classes} if task else {}
            network = seeded(lambda: _create(timm, self.network, **options), self.seed)
            classifier = _classifier(timm, network, f"timm:{self.network}", f"random, seed {self.seed}", None)
            classifier.class_names = task.class_names if task else None
            return classifier
        if repository is None:
            raise SpecError(f"timm has no weights for '{self.network}' on the hub; weights=none takes random ones.")
        path = _fetch(repository, WEIGHTS, offline=is_offline(offline))
        network = seeded(lambda: _create(timm, self.network, pretrained_cfg_overlay={"file": str(path)}), 0)
        names = imagenet.class_names() if _in1k(network) else None
        return _classifier(timm, network, f"timm:{self.network}", repository, names)

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the weights are there."""
        if importlib.util.find_spec("timm") is None:
            return Status("unavailable", "needs pip install 'foolscope[timm]'")
        if self.weights == NONE:
            return READY
        repository = self._repository(require("timm", "timm"))
        return _hub_status([(repository, WEIGHTS)] if repository else [], offline)

    def _repository(self, timm: Any) -> str | None:
        """OWNER/NAME of the weights on the hub.  Raises `SpecError` for names that timm does not know."""
        if not timm.is_model(self.network):
            hint = nearest(self.network, timm.list_models())
            raise SpecError(f"timm has no network '{self.network}'.{hint} timm.list_models() lists all.")
        try:
            settings = timm.models.get_pretrained_cfg(self.network)
        except RuntimeError:
            tags = ", ".join(timm.list_pretrained(self.network.partition(".")[0] + ".*")[:5])
            raise SpecError(f"timm has no weights '{self.network}'; it has {tags or 'none'}.") from None
        hub = settings.hf_hub_id if settings else None
        if hub == "timm/":
            hub += timm.models.get_arch_name(self.network) + (f".{settings.tag}" if settings.tag else "")
        return str(hub) if hub else None


@dataclass(frozen=True, kw_only=True)
class HubModel(Model):
    """A network in timm's format on the Hugging Face hub."""

    name: ClassVar[str] = "hf-hub"
    argument: ClassVar[str | None] = "repository"
    example: ClassVar[str] = "hf-hub:timm/resnet18.a1_in1k"
    summary: ClassVar[str] = "a timm network on the Hugging Face hub, OWNER/NAME (pip install 'foolscope[timm]')"
    source: ClassVar[str] = "huggingface.co/models?library=timm, with each network's card"

    repository: str = parameter(help="OWNER/NAME on the hub")

    def build(self, task: Task | None, *, offline: bool = False) -> Classifier:
        """A classifier of images of any size.  Raises `MissingError`, `SpecError` and `CorruptError`."""
        timm = require("timm", "timm")
        self._check()
        found = [_fetch(self.repository, file, offline=is_offline(offline)) for file in (CONFIG, WEIGHTS)]
        network = seeded(lambda: _create(timm, f"local-dir:{found[0].parent}", pretrained=True), 0)
        names = network.pretrained_cfg.get("label_names")  # type: ignore[operator, union-attr]
        if not names and _in1k(network, self.repository):
            names = imagenet.class_names()
        return _classifier(timm, network, f"hf-hub:{self.repository}", self.repository, names)

    def status(self, *, offline: bool = False) -> Status:
        """Ready where the files are there."""
        self._check()
        if importlib.util.find_spec("timm") is None:
            return Status("unavailable", "needs pip install 'foolscope[timm]'")
        return _hub_status([(self.repository, CONFIG), (self.repository, WEIGHTS)], offline)

    def _check(self) -> None:
        owner, _, name = self.repository.partition("/")
        if not owner or not name or "/" in name or ".." in self.repository:
            raise SpecError(f"'{self.repository}' is not OWNER/NAME, as in '{self.example}'.")


def _create(timm: Any, name: str, **options: Any) -> nn.Module:
    """timm.create_model; its complaints about weights that do not fit become a `CorruptError`."""
    pretrained = options.pop("pretrained", "pretrained_cfg_overlay" in options)
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # safetensors and timm raise classes of their own, and torch a RuntimeError
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise CorruptError(f"timm cannot build {name}: {' '.join(lines[:2])}") from error
    return network


def _classifier(timm: Any, network: nn.Module, name: str, weights: str, names: Any) -> Classifier:
    settings = timm.data.resolve_model_data_config(network)
    channels, height, width = settings["input_size"]
    if channels not in (1, 3):
        raise InputError(f"{name} takes images with {channels} channels; 1 or 3 can be attacked.")
    classes = int(network.num_classes)  # type: ignore[arg-type]
    if classes < 1:
        raise InputError(f"{name} has no classes: it gives features, not logits.")
    return Classifier(
        network,
        name=name,
        input_shape=(channels, None, None),
        num_classes=classes,
        class_names=names if names and len(names) == classes else None,
        preprocess=[Resize(height, width), Normalize(settings["mean"], settings["std"])],
        weights=weights,
    ).eval()


def _in1k(network: nn.Module, repository: str = "") -> bool:
    """Whether the weights' tag says ImageNet-1K, whose classes timm keeps in the usual order."""
    tag = str(network.pretrained_cfg.get("tag") or "")  # type: ignore[operator, union-attr]
    return bool(network.num_classes == 1000) and "in1k" in f"{tag} {repository.rpartition('.')[2]}"


def _local(repository: str, file: str) -> Path | None:
    """A file of a hub repository that is on this machine: in `FOOLSCOPE_DATA` or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    folder = data_folder()
    if folder is not None and (folder / repository / file).is_file():
        return folder / repository / file
    found = try_to_load_from_cache(repository, file, cache_dir=home() / "hub")
    return Path(found) if isinstance(found, str) else None


def _fetch(repository: str, file: str, *, offline: bool) -> Path:
    """A file of a hub repository, downloaded where it must be.  Raises `MissingError`."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    if (found := _local(repository, file)) is not None:
        return found
    url, place = hf_hub_url(repository, file), f"$FOOLSCOPE_DATA/{repository}/{file}"
    if offline:
        raise MissingError(f"offline, and {repository} is not there: copy {url} to {place}.")
    try:
        size = get_hf_file_metadata(url).size or 0
        # A warning, because Python shows these by default: nothing downloads silently.
        logger.warning("downloading %s (%.1f MiB) to %s", url, size / 2**20, home() / "hub")
        return Path(hf_hub_download(repository, file, cache_dir=home() / "hub"))
    except Exception as error:  # the hub's client lets the errors of its HTTP library through
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise storage_error(home() / "hub", error) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingError(f"cannot download {url}: {reason}; copy it to {place}.") from None


def _hub_status(files: list[tuple[str, str]], offline: bool) -> Status:
    if not files:
        return Status("unavailable", "no weights on the hub; weights=none takes random ones")
    if all(_local(repository, file) for repository, file in files):
        return READY
    return Status("unavailable", "not available offline") if is_offline(offline) else Status("download")
