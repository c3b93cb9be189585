"""The colours of an edited crop are brought to those of the photograph around it.

Mean and standard deviation of each channel are carried over (Reinhard et al. 2001, "Color Transfer
between Images"), with these choices:

- CIELAB instead of their l-alpha-beta: it parts lightness from colour as well, it is standard, and
  a distance in it is about what is seen, so that a limit can be stated in its units.
- Channel by channel instead of the whole covariance (Pitie and Kokaram 2007): on a rim of two or
  three colours the covariance is all but singular, and its map turns hues that the rim lacks, skin
  above all.
- Only the rim counts, where both pictures are seen at once. What the edit changed within is meant.
- Contrast is carried over within limits, because a plain rim says little about it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CONTRAST = 1.25  # the greatest factor, and its inverse the least
PLAIN = 1.0  # CIELAB units: a deviation that says nothing about contrast


def match_colours(
    edited: U8,  # [T, T, 3], RGB, any T
    crop: U8,  # [S, S, 3], RGB, of the photograph, any S
    rim: F32,  # [R, R], weights: both pictures are compared at its size
    strength: float,
) -> F32:  # [T, T, 3], 0..255
    """Move edited towards the colours that crop has in the rim, by strength: 0 is not, 1 wholly."""
    if not rim.sum() > 0 or strength == 0:
        return edited.astype(np.float32)
    mean, deviation = _moments(edited, rim)
    wanted_mean, wanted_deviation = _moments(crop, rim)
    gain = ((wanted_deviation + PLAIN) / (deviation + PLAIN)).clip(1 / CONTRAST, CONTRAST)
    if np.array_equal(mean, wanted_mean) and np.array_equal(gain, np.ones(3)):
        return edited.astype(np.float32)  # spares it the rounding of the way through CIELAB
    lab = _lab(edited)
    matched = (lab - mean.astype(np.float32)) * gain.astype(np.float32) + wanted_mean
    lab += np.float32(strength) * (matched.astype(np.float32) - lab)
    rgb: F32 = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return rgb.clip(0, 1) * np.float32(255)


def _lab(picture: U8) -> F32:
    """CIELAB under D65 [H, W, 3]: lightness 0..100, a and b."""
    lab: F32 = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


def _moments(picture: U8, weight: F32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and standard deviation of each channel in CIELAB [3]."""
    scaled = cv2.resize(picture, weight.shape[::-1], interpolation=cv2.INTER_AREA)
    values = _lab(scaled).reshape(-1, 3).astype(np.float64)
    share = weight.ravel().astype(np.float64) / weight.sum(dtype=np.float64)
    mean = share @ values
    return mean, np.sqrt(share @ (values - mean) ** 2)
