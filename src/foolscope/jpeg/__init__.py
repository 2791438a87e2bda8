"""JPEG as a function of images: the real codec, and its pixels with a gradient."""

from __future__ import annotations

from foolscope.jpeg.codec import SUBSAMPLINGS, compress, encoded_size
from foolscope.jpeg.surrogate import differentiable, surrogate

__all__ = ["SUBSAMPLINGS", "compress", "differentiable", "encoded_size", "surrogate"]
