"""Explanations: where a network looks, which frequencies it hears, and what an attack does to both."""

from __future__ import annotations

from foolscope.explain.faithfulness import (
    PixelCurve,
    RandomizedLayer,
    deletion_curve,
    insertion_curve,
    model_randomization,
)
from foolscope.explain.fourier import (
    BANDS,
    BandAccuracy,
    FourierHeatMap,
    NoiseBand,
    band_accuracy,
    band_passed,
    fourier_heatmap,
    noise_bands,
)
from foolscope.explain.frequencies import Band, Profile, filtered, sinusoids
from foolscope.explain.grad_cam import (
    ClassActivation,
    channels_to_front,
    class_activation,
    grad_cam,
    grad_cam_layer,
    tokens_to_grid,
)
from foolscope.explain.layers import layer_names
from foolscope.explain.maps import EXPLAINERS, Agreement, Explainer, agreement, jointly_normalized
from foolscope.explain.saliency import (
    completeness_gap,
    integrated_gradients,
    pixel_ranking,
    pixel_saliency,
    saliency,
    smooth_grad,
)
from foolscope.explain.spectrum import NoiseSpectrum, Spectrum, noise_spectrum, power_spectrum, white_noise
from foolscope.explain.stability import (
    Comparison,
    SalientEnergy,
    Stability,
    energy_on_salient,
    equally_noisy,
    explanation_stability,
)
from foolscope.explain.transfer import (
    TransferFunction,
    jacobian_transfer_function,
    kernel_transfer_function,
    transfer_function,
)

__all__ = [
    "BANDS",
    "EXPLAINERS",
    "Agreement",
    "Band",
    "BandAccuracy",
    "ClassActivation",
    "Comparison",
    "Explainer",
    "FourierHeatMap",
    "NoiseBand",
    "NoiseSpectrum",
    "PixelCurve",
    "Profile",
    "RandomizedLayer",
    "SalientEnergy",
    "Spectrum",
    "Stability",
    "TransferFunction",
    "agreement",
    "band_accuracy",
    "band_passed",
    "channels_to_front",
    "class_activation",
    "completeness_gap",
    "deletion_curve",
    "energy_on_salient",
    "equally_noisy",
    "explanation_stability",
    "filtered",
    "fourier_heatmap",
    "grad_cam",
    "grad_cam_layer",
    "insertion_curve",
    "integrated_gradients",
    "jacobian_transfer_function",
    "jointly_normalized",
    "kernel_transfer_function",
    "layer_names",
    "model_randomization",
    "noise_bands",
    "noise_spectrum",
    "pixel_ranking",
    "pixel_saliency",
    "power_spectrum",
    "saliency",
    "sinusoids",
    "smooth_grad",
    "tokens_to_grid",
    "transfer_function",
    "white_noise",
]
