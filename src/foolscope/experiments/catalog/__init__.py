"""The catalog: one file for each figure or table, and the functions that compute their cells."""

from __future__ import annotations

from foolscope.experiments.catalog import (
    agv,
    attack_noise,
    cifar_cnn,
    common,
    first_error,
    fourier_heatmap,
    jpeg_levels,
    masking,
    noise_spectrum,
    overview,
    saliency,
    targeted_grid,
    trained,
    transfer_function,
)
from foolscope.experiments.catalog.adaptive_jpeg import AdaptiveJpeg
from foolscope.experiments.catalog.agv_front import AgvFront
from foolscope.experiments.catalog.agv_transfer import AgvTransfer
from foolscope.experiments.catalog.attack_noise import AttackNoise
from foolscope.experiments.catalog.cifar_cnn import CifarCnn
from foolscope.experiments.catalog.first_error import FirstError
from foolscope.experiments.catalog.fourier_heatmap import FourierHeatmap
from foolscope.experiments.catalog.jpeg_accuracy import JpegAccuracy
from foolscope.experiments.catalog.jpeg_carlini_wagner import JpegCarliniWagner
from foolscope.experiments.catalog.jpeg_epsilon import JpegEpsilon
from foolscope.experiments.catalog.jpeg_levels import JpegLevels
from foolscope.experiments.catalog.jpeg_rescue import JpegRescue
from foolscope.experiments.catalog.large_images import LargeImages
from foolscope.experiments.catalog.leaderboard import Leaderboard
from foolscope.experiments.catalog.masking import Masking
from foolscope.experiments.catalog.noise_spectrum import NoiseSpectrum
from foolscope.experiments.catalog.overfitting import Overfitting
from foolscope.experiments.catalog.overparameterization import Overparameterization
from foolscope.experiments.catalog.overview import DatasetOverview
from foolscope.experiments.catalog.saliency import Saliency
from foolscope.experiments.catalog.targeted_grid import TargetedGrid
from foolscope.experiments.catalog.transfer_function import TransferFunction
from foolscope.experiments.catalog.transfer_function_jpeg import TransferFunctionJpeg
from foolscope.experiments.experiment import Experiment, Kind
from foolscope.registry import Registry

_ALL: tuple[type[Experiment], ...] = (
    DatasetOverview,
    TargetedGrid,
    AttackNoise,
    JpegLevels,
    TransferFunction,
    JpegRescue,
    JpegEpsilon,
    JpegCarliniWagner,
    TransferFunctionJpeg,
    FirstError,
    NoiseSpectrum,
    JpegAccuracy,
    Overfitting,
    Overparameterization,
    Saliency,
    CifarCnn,
    AdaptiveJpeg,
    Masking,
    FourierHeatmap,
    LargeImages,
    AgvFront,
    AgvTransfer,
    Leaderboard,
)

_CELLS = (
    common,
    overview,
    targeted_grid,
    attack_noise,
    jpeg_levels,
    transfer_function,
    first_error,
    noise_spectrum,
    saliency,
    fourier_heatmap,
    trained,
    masking,
    cifar_cnn,
    agv,
)

EXPERIMENTS: Registry[type[Experiment]] = Registry(
    "experiment", "foolscope experiments", {kind.name: kind for kind in _ALL}
)
"""Every experiment, in the report's order, then those beyond it."""

KINDS: Registry[Kind] = Registry(
    "kind of cell",
    "foolscope.experiments.catalog.KINDS",
    {name: function for module in _CELLS for name, function in module.KINDS.items()},
)
"""What computes each kind of cell."""
