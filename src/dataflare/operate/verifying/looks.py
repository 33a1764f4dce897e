"""Verifies a destination: sums of hashes first, then rows of what differs, looked at again as some may be coming."""

from __future__ import annotations

import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.clock import wait_blocking
from dataflare.errors import DataFlareError
from dataflare.operate.verifying.comparison import BUCKET_DIGITS, SOURCE, WRITTEN, Comparison
from dataflare.operate.verifying.narrowing import Wanted, narrowed, told_sides
from dataflare.operate.verifying.report import Report, Side
from dataflare.operate.verifying.sides import (
    READ_BACK,
    Engine,
    compared_schema,
    destination_of,
    form_of_condition,
    read_back,
    up_to,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dataflare.component import Registry
    from dataflare.operate.verifying.narrowing import Narrowed
    from dataflare.plan import Node, Plan


@dataclass(frozen=True, slots=True)
class Options:
    """What is compared, and how often.

    `key`: columns, by default the key of the destination. `columns`: those that are compared (default: all that are
    written) but `leave_out`. `where`: an SQL condition on these columns. `share`: of the keys. `looks`: how often keys
    that differ are looked at; `pause_seconds` between looks, in which rows that are on their way may arrive. `sums`:
    databases may be asked for sums of hashes before rows are read.
    """

    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    where: str = ""
    share: float = 1.0
    examples: int = 20
    looks: int = 2
    pause_seconds: float = 0.0
    sums: bool = True


def verify(
    plan: Plan,
    registry: Registry,
    name: str,
    options: Options,
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Report:
    """Read what a workflow would write and what is written, and compare; blocking, never on an event loop.

    `plan` reads its sources as a whole. Rows that differ are read again, `options.looks` - 1 times at most; only what
    differs each time counts. Raises WorkflowError where the destination cannot be read back, and the errors of runs.
    """
    with looked(plan, name, options, Engine(registry, resolve)) as (report, _):
        return report


@contextmanager
def looked(plan: Plan, name: str, options: Options, engine: Engine) -> Iterator[tuple[Report, Comparison]]:
    """Verify as `verify` does; give the report and the comparison, which is gone behind the block."""
    node = destination_of(plan, name)
    try:
        yield from _looked(plan, node, options, engine)
    except DataFlareError as error:
        if error.place.path in ("", *READ_BACK):
            error.place = replace(error.place, path=name)
        raise


def _looked(plan: Plan, node: Node, options: Options, engine: Engine) -> Iterator[tuple[Report, Comparison]]:
    name = node.id
    key = options.key or tuple(node.traits.get("key") or ())
    schema = compared_schema(plan, node, options.columns, options.leave_out, key)
    sides = {SOURCE: up_to(plan, node), WRITTEN: read_back(plan, engine.registry, node, schema)}
    memory = plan.settings.memory_bytes_max // 2
    with (
        tempfile.TemporaryDirectory(prefix="dataflare-verify-") as folder,
        closing(Comparison(schema, key, Path(folder), memory)) as comparison,
    ):
        wanted = Wanted(schema, key, options.where, form_of_condition(options.where, schema), options.share)
        looks = _Looks(sides, wanted, comparison, engine)
        looks.narrow(None)
        found = narrowed(sides, engine, wanted, memory) if options.sums else None
        if found is not None and found.differing is None:
            yield _equal(plan.workflow, name, comparison, found), comparison
            return
        looks.narrow(found)
        yield looks.report(plan.workflow, name, options), comparison


def _equal(workflow: str, name: str, comparison: Comparison, found: Narrowed) -> Report:
    source, written = (_side(found, side) for side in (SOURCE, WRITTEN))
    return Report(workflow, name, comparison.key, tuple(comparison.columns), source, written, by="sums")


def _side(found: Narrowed, side: str) -> Side:
    return Side(found.sums[side].rows, found.sums[side].checksum)


class _Looks:
    def __init__(self, plain: Mapping[str, Plan], wanted: Wanted, comparison: Comparison, engine: Engine) -> None:
        self._plain, self._wanted, self._comparison, self._engine = plain, wanted, comparison, engine
        self._sides = plain
        self._found: Narrowed | None = None

    def narrow(self, found: Narrowed | None) -> None:
        """Look at nothing but the sample, or where sums differ."""
        wanted, hashed = self._wanted, self._wanted.hashed()
        if found is not None and not found.most:
            hashed = found.differing
        self._comparison.narrow(wanted.where, hashed, wanted.share)
        self._sides, self._found = told_sides(self._plain, wanted, hashed), found

    def report(self, workflow: str, name: str, options: Options) -> Report:
        comparison = self._comparison
        self._look()
        counts, settled, looks = comparison.counts(), 0, 1
        while counts and looks < options.looks:
            if options.pause_seconds:
                wait_blocking(options.pause_seconds)
            self._look(comparison.look_again())
            settled += comparison.settle()
            looks += 1
            counts = comparison.differences()
        examples = comparison.examples(options.examples) if counts else []
        found = self._found
        source, written = (
            (comparison.side(s) if found is None or found.most else _side(found, s)) for s in (SOURCE, WRITTEN)
        )
        return Report(
            workflow,
            name,
            comparison.key,
            tuple(comparison.columns),
            source,
            written,
            counts,
            settled,
            looks,
            tuple(examples),
            "rows" if found is None or found.most else "sums",
        )

    def _look(self, buckets: tuple[str, ...] | None = None) -> None:
        """Read both sides; the first time all that is wanted, then the keys in some buckets."""
        sides = self._sides
        if buckets is not None:
            wanted = replace(self._wanted, form=None, share=1.0)
            sides = told_sides(self._plain, wanted, wanted.hashed(buckets, BUCKET_DIGITS))
        for side, plan in sides.items():
            self._engine.read(plan, side, self._comparison)


__all__ = ["Options", "looked", "verify"]
