"""The light of an edited crop is brought to that of the photograph around it.

Reinhard et al. 2001 ("Color Transfer between Images") carry the statistics of each channel over in
l-alpha-beta, the logarithm of what the eye's cones answer. Of that, with these choices:

- Only the rim counts, where both pictures are seen at once. What the edit changed within is meant.
- The median of the differences, pixel by pixel, instead of the difference of means: hair that the
  edit moved across the rim is no change of light.
- Of the statistics only this one. A shift of logarithms is a factor for each kind of cone, which is
  how a change of light looks (von Kries), and black stays black. Deviations, or the covariance
  (Pitie and Kokaram 2007), say what lies in the rim: between projections of mien's portraits and
  the portraits themselves their ratio came to 0.8 to 1.2, and skin turned red by it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

# Linear RGB to the answers of long, medium and short cones (Reinhard et al., equation 4).
CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
DARK = 0.01  # of white: below it a logarithm tells noise
LIMIT = 4.0  # two stops


def match_light(
    edited: U8,  # [T, T, 3], RGB, any T
    crop: U8,  # [S, S, 3], RGB, of the photograph, any S
    rim: F32,  # [R, R], weights: both pictures are compared at its size
    strength: float,
) -> F32:  # [T, T, 3], 0..255
    """Light edited as crop is in the rim, by strength: 0 is not, 1 wholly."""
    gains = light_between(edited, crop, rim) ** strength
    if (gains == 1).all():
        return edited.astype(np.float32)  # spares it the rounding of the way to light and back
    matrix = np.linalg.inv(CONES) @ np.diag(gains) @ CONES
    light: F32 = cv2.transform(_linear(edited), matrix.astype(np.float32))
    return _encoded(light.clip(0, 1))


def light_between(edited: U8, crop: U8, rim: F32) -> F64:  # [3]
    """Return how many times more long, medium and short light falls on crop than on edited.

    Shapes are those of `match_light`. 1 where the rim has no weight.
    """
    inside = rim > 0
    one, other = (
        np.log(_linear(scaled)[inside] @ CONES.T + DARK)
        for scaled in (
            cv2.resize(picture, rim.shape[::-1], interpolation=cv2.INTER_AREA)
            for picture in (edited, crop)
        )
    )
    weight = rim[inside].astype(np.float64)
    change = np.array([_median(values, weight) for values in (other - one).T])
    gains: F64 = np.exp(change).clip(1 / LIMIT, LIMIT)
    return gains


def _linear(picture: U8) -> F32:
    """sRGB to linear light, 0..1 (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    curve = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    light: F32 = curve.astype(np.float32)[picture]
    return light


def _encoded(light: F32) -> F32:
    """Linear light to sRGB, 0..255."""
    low, high = light * np.float32(12.92), np.float32(1.055) * light ** np.float32(1 / 2.4)
    encoded: F32 = np.where(light <= 0.0031308, low, high - np.float32(0.055)) * np.float32(255)
    return encoded


def _median(values: F64, weight: F64) -> float:
    """The value that half of the weight lies below."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])
