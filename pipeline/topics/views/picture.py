"""A map as a picture, for documents and slides; needs matplotlib (extra ``viz``)."""

from __future__ import annotations

import textwrap
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.errors import UsageError
from pipeline.topics.views.colours import colours

if TYPE_CHECKING:
    import os

    from pipeline.topics.views.map import TopicMap

__all__ = ["can_draw", "save_picture"]

INCHES: Final = (14.0, 9.0)
DPI: Final = 160
PAPER: Final = "#fbfbf9"
INK: Final = "#1d1f24"
SOFT_INK: Final = "#646a75"
GREY: Final = "#b9bbc0"
LINE_CHARACTERS: Final = 20
MAX_LINES: Final = 3


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def save_picture(drawn: TopicMap, path: str | os.PathLike[str]) -> None:
    """Write a map of 2240 × 1440 pixels as PNG, or as SVG or PDF if the name ends so.

    Raises:
        UsageError: matplotlib is not installed, or the name has another ending.
    """
    if not can_draw():
        raise UsageError("a picture needs matplotlib: pip install 'moee-pipeline[viz]'")
    with warnings.catch_warnings():
        # A letter that no installed font has becomes a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        try:
            _figure(drawn).savefig(path)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from error


def _figure(drawn: TopicMap) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(INCHES, dpi=DPI, facecolor=PAPER, layout="constrained")
    axes: Any = figure.add_subplot(aspect="equal")
    axes.set_axis_off()
    outside = 100 * drawn.outliers / max(drawn.documents, 1)
    title = (
        f"{drawn.title}: {len(drawn.topics):,} topics, {drawn.documents:,} documents ({len(drawn.points):,} shown), "
    )
    axes.set_title(f"{title}{outside:.0f} % in none", fontsize=11, color=SOFT_INK, parse_math=False)
    _points(axes, drawn)
    figure.canvas.draw()  # so that sizes of texts are known
    _labels(axes, drawn)
    return figure


def _points(axes: Any, drawn: TopicMap) -> None:
    size = float(np.clip(60_000 / max(len(drawn.points), 1), 0.6, 22))
    inks = np.array([GREY, *colours(drawn.label_points, "light")])
    for alpha, chosen in ((0.45, drawn.topic < 0), (0.75, drawn.topic >= 0)):
        x, y = drawn.points[chosen].T
        ink = inks[drawn.topic[chosen] + 1]
        axes.scatter(x, y, s=size, c=ink, alpha=alpha, linewidths=0, rasterized=True)


def _labels(axes: Any, drawn: TopicMap) -> None:
    """Labels, largest topics first; a label that would touch another is left out."""
    from matplotlib.patheffects import withStroke

    largest = max((topic.size for topic in drawn.topics), default=1)
    taken: list[Any] = []
    for topic in drawn.topics:
        label = axes.text(
            topic.x,
            topic.y,
            _wrapped(topic.label),
            fontsize=7 + 4 * (topic.size / largest) ** 0.5,
            weight="bold",
            color=INK,
            ha="center",
            va="center",
            linespacing=1.05,
            path_effects=[withStroke(linewidth=2.5, foreground=PAPER)],
            parse_math=False,
        )
        box = label.get_window_extent().expanded(1.04, 1.1)
        if any(box.overlaps(other) for other in taken):
            label.remove()
        else:
            taken.append(box)


def _wrapped(label: str) -> str:
    """The label in lines of similar length."""
    lines = -(-len(label) // LINE_CHARACTERS)
    width = max(LINE_CHARACTERS // 2, -(-len(label) // max(lines, 1)) + 3)
    return "\n".join(textwrap.wrap(label, width, max_lines=MAX_LINES, placeholder=" …"))
