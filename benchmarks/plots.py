"""What the reports of benchmarks share: the machine, the versions, and plots that repeat byte for byte."""

import os
import platform
from contextlib import suppress
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
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


def machine() -> str:
    """What this machine is, on a line."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def packages(*names: str) -> str:
    """Python and the packages, with their versions."""
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, {found}"
