"""Whatever the text, reading it ends in findings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.golden.stand_ins import REGISTRY

from dataflare.workflow import load

if TYPE_CHECKING:
    import pytest

TEXTS = [p.read_text() for p in sorted(Path("tests/golden/workflows").glob("*.yaml"))]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "\n",
    "  ",
    "- ",
    "&a",
    "*a",
    "<<: *a",
    "!!int",
    '"',
    "'",
    "${",
    "${X}",
    "#",
    "|",
    ">",
]
PIECES += [
    "\t",
    "\x00",
    "\ud7ff",
    "\U0001f600",
    "null",
    "on",
    "1e999",
    "99999999999999999999999",
    "type: file",
    "?",
    "%",
]
SLOW = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def check(text: str | bytes, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    loaded = load(file, registry=REGISTRY, environ={"X": "${secret:a/b}"})
    assert loaded.plan is not None or any(f.severity == "error" for f in loaded.findings)
    for finding in loaded.findings:
        assert finding.code.count(".") >= 1
        assert finding.place.file == str(file)


@SLOW
@given(text=st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=4)).map("".join))
def test_arbitrary_text_only_gives_findings(text, tmp_path_factory):
    check(text, tmp_path_factory, "any.yaml")
    check(text, tmp_path_factory, "any.json")


@SLOW
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_only_give_findings(data, tmp_path_factory):
    check(data, tmp_path_factory, "bytes.yaml")


@SLOW
@given(data=st.data(), text=st.sampled_from(TEXTS))
def test_a_damaged_workflow_only_gives_findings(data, text, tmp_path_factory):
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        text = text[:start] + data.draw(st.sampled_from([*PIECES, ""])) + text[start + length :]
    check(text, tmp_path_factory, "damaged.yaml")


PATHS = ["id", "runtime", "runtime.state", "secrets.pg", "sources", "sources.shop", "sources.shop.config"]
PATHS += ["sources.shop.tags", "tests", "transformations.clean", "transformations.clean.inputs", "schedule"]
PATHS += ["transformations.split.config", "destinations.lake", "destinations.lake.write_mode", "metadata"]
PATHS += ["destinations.lake.config.key"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["file", "route"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "config", "inputs", "path", "routes", "key"]) | st.text(max_size=5), inner
        )
    ),
    max_leaves=12,
)


@SLOW
@given(
    value=VALUES,
    path=st.sampled_from(PATHS),
)
def test_any_value_at_any_place_only_gives_findings(value, path):
    loaded = load(TEXTS[-1], registry=REGISTRY, environ={"SHOP_PASSWORD": "x"}, overrides={path: value})
    assert loaded.plan is not None or any(f.severity == "error" for f in loaded.findings)
