"""What the long tests count: each appends lines of JSON to one file, of which scripts/soak.py makes the page."""

from __future__ import annotations

import json
import os
from typing import Any

RESULTS = "DATAFLARE_SOAK_RESULTS"


def amount(name: str, default: int) -> int:
    """Return how much of something is wanted: the variable DATAFLARE_SOAK_NAME, else the default."""
    return int(os.environ.get(f"DATAFLARE_SOAK_{name}", default))


def note(kind: str, **figures: Any) -> None:
    """Append one line, whole, where the file of results is named."""
    path = os.environ.get(RESULTS)
    if not path:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps({"kind": kind, **figures}) + "\n").encode())
    finally:
        os.close(descriptor)
