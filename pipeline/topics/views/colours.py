"""Colours of topics on a map: neighbours have similar hues, and can be told apart.

Hues go once around the middle of the map, evenly over the topics. Lightness alternates, so that neighbours of nearly
the same hue differ. Colours are chosen in OKLCH, where equal steps look equal (B. Ottosson, 2020, "A perceptual color
space for image processing"), for a light and for a dark background. Pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Theme", "colours"]

Theme = Literal["light", "dark"]

CHROMA: Final[dict[Theme, float]] = {"light": 0.15, "dark": 0.13}
LIGHTNESS: Final[dict[Theme, tuple[float, ...]]] = {"light": (0.62, 0.50, 0.70), "dark": (0.74, 0.63, 0.83)}
FIRST_HUE: Final = 0.4
"""Radians, so that the first topic is neither pure red nor pure green."""

_LMS: Final = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
)
_RGB: Final = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.707614701],
    ]
)


def colours(points: NDArray[np.float32], theme: Theme) -> list[str]:
    """``#rrggbb`` for each of k topics at `points` float32 [k, 2]."""
    if not len(points):
        return []
    offset = points - points.mean(axis=0)
    rank = np.argsort(np.argsort(np.arctan2(offset[:, 1], offset[:, 0]), kind="stable"), kind="stable")
    hue = FIRST_HUE + 2 * np.pi * rank / len(points)
    lightness = np.array(LIGHTNESS[theme])[rank % len(LIGHTNESS[theme])]
    lab = np.stack([lightness, CHROMA[theme] * np.cos(hue), CHROMA[theme] * np.sin(hue)], axis=1)
    return ["#{:02x}{:02x}{:02x}".format(*row) for row in _srgb(lab).tolist()]


def _srgb(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """OKLab [k, 3] as sRGB [k, 3]; colours that no screen shows are clipped."""
    linear = np.clip((lab @ _LMS.T) ** 3 @ _RGB.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved).astype(np.uint8)
