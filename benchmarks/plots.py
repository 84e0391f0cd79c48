"""Plots that repeat byte for byte."""

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

SETTINGS: dict[RcKeyType, Any] = {
    "svg.hashsalt": "orders",  # else the ids in the file are made by chance
    "svg.fonttype": "none",  # words as words: smaller, and every machine has a font of its own
    "font.family": "sans-serif",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figures give the same bytes."""
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
