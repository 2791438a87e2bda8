"""JPEG as a function of images: the real codec."""

from __future__ import annotations

from foolscope.jpeg.codec import SUBSAMPLINGS, compress, encoded_size

__all__ = ["SUBSAMPLINGS", "compress", "encoded_size"]
