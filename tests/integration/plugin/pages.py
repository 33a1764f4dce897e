"""The example of a page about plugins: a source, a command that compiles it, and a workflow that it runs in."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dataflare.plugin

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCS = Path(__file__).parents[3] / "docs"
SDK = Path(dataflare.plugin.__path__[0]) / "sdk"


def example(page: str, language: str, folder: Path, environ: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Do as a page says, in a folder; return the rows of its workflow, whose orders cost 2, -1, nothing and 10."""
    text = (DOCS / page).read_text()
    found = {kind: re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in (language, "sh", "yaml")}
    source, command, workflow = (one[1] if one else "" for one in found.values())
    named = re.match(r"\W+(\w+\.\w+)\n", source)
    assert named, "the first line of the source says what its file is called"
    (folder / named[1]).write_text(source)
    (folder / "prices.yaml").write_text(workflow)
    with (folder / "orders.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "amount"), (1, 2), (2, -1), (3, None), (4, 10)])
    subprocess.run(command, shell=True, cwd=folder, env={**environ, "SDK": str(SDK)}, check=True)
    subprocess.run([sys.executable, "-m", "dataflare.cli", "run", "prices.yaml", "--json"], cwd=folder, check=True)
    (written,) = (folder / "out").glob("*.jsonl")
    return [json.loads(line) for line in written.read_text().splitlines()]


ROWS = [{"id": 1, "amount": 2.0, "total": 3.0}, {"id": 4, "amount": 10.0, "total": 15.0}]
"""What the example of each page makes of them."""
