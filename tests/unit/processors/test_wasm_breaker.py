"""A plugin that has to be stopped by too many rows is called no more: the run fails, or the plugin rests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.batch import Batch
from dataflare.errors import DataError
from dataflare.monitoring.events import Event, Noticed
from dataflare.processors.wasm import WasmConfig, WasmProcessor
from dataflare.processors.wasm_breaker import RESTS
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64"})
CODE = """let calls = 0;
export const process = (r) => {
  dataflare.metric("calls");
  if (r.id < 0) for (;;);
  if (r.id === 7) throw new Error("seven");
  return r;
};"""
SECOND = 1_000_000


class Plugin:
    """A plugin at a time of one's own."""

    def __init__(self, folder: Path, config: dict[str, Any], **context: Any) -> None:
        self.now, self.events = 0, list[Event]()
        (folder / "r.js").write_text(CODE)
        self.node = staged(
            WasmProcessor(WasmConfig(module="r.js", timeout="50ms", breaker=config)),
            folder,
            self.events,
            schemas={"0": SCHEMA},
            epoch_time=lambda: self.now,
            **{"on_error": "dead_letter", **context},
        )
        self.node.open()

    def __call__(self, *ids: int) -> tuple[list[int], list[str]]:
        """Return the rows that come out, and why others do not."""
        out, why = [], []
        for batch in self.node.process(Batch.of([{"id": n} for n in ids], schema=SCHEMA.to_arrow())):
            if batch.stream:
                why += batch.rows["error"].to_pylist()
            else:
                out += batch.rows["id"].to_pylist()
        return out, why

    def called(self) -> int:
        """Return for how many rows it was called to the end since the last time."""
        return self.node.noted().get("calls", 0) // 1_000_000


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[..., Plugin]]:
    made: list[Plugin] = []

    def build(config: dict[str, Any], **context: Any) -> Plugin:
        made.append(Plugin(tmp_path, config, **context))
        return made[-1]

    yield build
    for one in made:
        one.node.close()


STOPPED = "stopped: it took longer than it may"


def test_so_many_rows_may_stop_it_whatever_it_takes_to_find_them(plugin: Any) -> None:
    one = plugin({"rows": 3})
    bad = [-1 if n in (50, 400, 401) else n for n in range(10, 510)]
    out, why = one(*bad)
    assert len(out) == 497
    assert why == [STOPPED] * 3
    with pytest.raises(DataError, match=r"r\.js: 4 rows had the plugin stopped within 60 s, the last one"):
        one(-1)


def test_rows_count_within_the_window_alone(plugin: Any) -> None:
    one = plugin({"rows": 1, "window": "10s"})
    for _ in range(4):
        assert one(-1) == ([], [STOPPED])
        one.now += 10 * SECOND
    assert one(-1) == ([], [STOPPED])
    one.now += 10 * SECOND - 1
    with pytest.raises(DataError, match="2 rows had the plugin stopped within 10 s"):
        one(-1)


def test_rows_that_only_fail_do_not_count(plugin: Any) -> None:
    one = plugin({"rows": 0})
    assert one(*[7] * 20) == ([], ["seven (5)"] * 20)


def test_it_rests_for_a_pause_and_is_tried_with_what_comes_then(plugin: Any) -> None:
    one = plugin({"rows": 1, "pause": "30s"})
    _, why = one(1, -1, 2, -1, 3)
    assert why[:2] == [STOPPED] * 2
    one.called()
    one.now += 30 * SECOND - 1
    assert one(1, -1) == ([], [why[-1]] * 2)
    assert why[-1] == RESTS
    assert one.called() == 0
    one.now += 1
    assert one(4, 5) == ([4, 5], []), "the trial"
    assert one.called() == 2
    assert one(-1, 6) == ([6], [STOPPED]), "it counts anew"
    assert [e.message for e in one.events if isinstance(e, Noticed)] == [
        "the plugin r.js: it rests for 30 s, and its rows are rejected: it took longer than it may",
        "the plugin r.js: it is called again",
    ]


def test_a_trial_that_fails_begins_another_pause(plugin: Any) -> None:
    one = plugin({"rows": 1, "pause": "30s"})
    one(-1, -1)
    one.now += 30 * SECOND
    assert one(-1) == ([], [STOPPED])
    one.now += 30 * SECOND - 1
    assert one(1)[0] == []
    one.now += 1
    assert one(1) == ([1], [])


def test_a_run_that_ends_at_a_bad_row_does_not_rest(plugin: Any) -> None:
    one = plugin({"rows": 0, "pause": "30s"}, on_error="fail")
    with pytest.raises(DataError, match="1 rows had the plugin stopped"):
        one(-1)


def test_skipped_rows_are_not_called_for_either(plugin: Any) -> None:
    one = plugin({"rows": 0, "pause": "30s"}, on_error="skip")
    assert one(-1) == ([], [])
    assert one(1) == ([], [])
    assert one.called() == 0
