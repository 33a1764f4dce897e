"""Runs the tests of a file, one after the other, in this process, each through the real engine."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.clock import SystemClock
from dataflare.errors import InvalidWorkflowError, WorkflowError
from dataflare.plan import Level
from dataflare.testing.examples.arranging import arrange
from dataflare.testing.examples.comparing import Comparison
from dataflare.testing.examples.lives import live
from dataflare.testing.examples.results import Failure, Result
from dataflare.testing.examples.stand_ins import with_stand_ins
from dataflare.testing.examples.world import World
from dataflare.workflow import resolve_secrets, secret_references
from dataflare.workflow.example_text import CRASHES, ExpectText, FaultText
from dataflare.workflow.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from dataflare.executor.contract import Outcome
    from dataflare.testing.examples.arranging import Arranged
    from dataflare.testing.examples.suite import Suite
    from dataflare.workflow.document import Path
    from dataflare.workflow.example_text import ExampleText

EPOCHS = 3
"""Into how many epochs the rows are cut where something is to break."""


def run_suite(suite: Suite, only: str = "") -> Iterator[Result]:
    """Yield the result of each test with `only` in its name, in any case. Call it where no event loop runs.

    Raises InvalidWorkflowError for a test that cannot be run.
    """
    for index, example in enumerate(suite.examples):
        if only.lower() in example.name.lower():
            yield _Test(suite, example, ("tests", index)).run()


class _Test:
    def __init__(self, suite: Suite, example: ExampleText, path: Path) -> None:
        self._suite, self._example, self._path = suite, example, path
        self._failures: list[Failure] = []
        self._notes: list[str] = []

    def run(self) -> Result:
        clock = SystemClock()
        began = clock.monotonic()
        findings = Findings(self._suite.file)
        arranged = arrange(self._suite, self._example, self._path, findings)
        if arranged is None:
            raise InvalidWorkflowError(findings.found())
        now = self._now()
        straight = asyncio.run(self._once(arranged, [], now))
        for faults, words in self._breakdowns(arranged):
            broken = asyncio.run(self._once(arranged, faults, now, words))
            if straight is not None and broken is not None:
                self._same(straight, broken, words)
        place = self._suite.document.place((*self._path, "name"))
        failures = tuple(dict.fromkeys(self._failures))
        return Result(self._example.name, place, failures, tuple(self._notes), clock.monotonic() - began)

    def _breakdowns(self, arranged: Arranged) -> Iterator[tuple[list[FaultText], str]]:
        """Yield the faults of each run besides the straight one, with their words."""
        faults = self._example.faults
        most = max((t.num_rows for rows in arranged.given.values() for t in rows.values()), default=0)
        epochs = min(most, self._example.epochs or EPOCHS)
        together = [f for f in faults if f.crash != "every"]
        if together:
            yield together, " and ".join(_words(f) for f in together)
        if any(f.crash == "every" for f in faults):
            for epoch in range(1, epochs + 1):
                for moment in CRASHES:
                    fault = FaultText(crash=moment, epoch=epoch)
                    yield [fault], _words(fault)

    async def _once(
        self, arranged: Arranged, faults: list[FaultText], now: int | None, words: str = ""
    ) -> dict[str, pa.Table] | None:
        """Run and judge; return the rows of each destination, None where the run failed."""
        epochs = self._example.epochs or (EPOCHS if faults else 1)
        world = World(arranged.given, arranged.shelves, epochs=epochs)
        world.plant(faults)
        registry = with_stand_ins(self._suite.registry, world)
        outcome, notes = await live(arranged.plan, registry, world, now, self._resolve)
        after = f" (after {words})" if words else ""
        for node, (count, reason) in notes.rejected.items():
            self._note(f"{node} rejected {count:,} row{'s' * (count != 1)}: {reason}")
        if faults:
            for fault in world.left():
                what = f"{fault} never came: there were {world.committed} epochs"
                self._fail(what, ("faults",))
        if not self._ended_as_expected(outcome, after):
            return None
        if outcome.status != "succeeded":
            return None
        rows = {name: _rows(world, name, arranged) for name in arranged.shelves}
        self._judge(arranged, rows, after)
        return rows

    def _ended_as_expected(self, outcome: Outcome, after: str) -> bool:
        expected = self._example.expect_failure
        error = outcome.error
        if expected is not None:
            if error is None:
                self._fail(f"the run should fail, and it {outcome.status}{after}", ("expect_failure",))
                return False
            if expected.lower() not in str(error).lower():
                difference = (f"- {expected}", f"+ {error}")
                self._fail(f"the run fails for another reason{after}", ("expect_failure",), difference)
            return True
        if error is not None:
            self._fail(f"the run failed{after}: {error}", ("name",))
            return False
        return True

    def _judge(self, arranged: Arranged, rows: Mapping[str, pa.Table], after: str) -> None:
        for name, text in self._example.expect.items():
            before = len(self._failures)
            self._compare(rows[arranged.watched[name]], text, ("expect", name), after)
            guarantee = self._suite.plan.guarantees.get(name)
            if after and len(self._failures) > before and guarantee and guarantee.level is not Level.EXACTLY_ONCE:
                self._note(f"{name} is {guarantee.level.value}: {guarantee.reason}")
        for name, text in self._example.expect_errors.items():
            self._compare(rows[arranged.errors[name]], text, ("expect_errors", name), after)

    def _compare(self, rows: pa.Table, text: ExpectText, path: Path, after: str) -> None:
        compared = Comparison(rows, text, self._suite.document, (*self._path, *path))
        self._failures += [replace(f, message=f"{f.message}{after}") for f in compared.failures()]

    def _same(self, straight: Mapping[str, pa.Table], broken: Mapping[str, pa.Table], words: str) -> None:
        """Report a destination that holds other rows than without the faults, unless it is told already."""
        if self._failures:
            return
        for name, rows in straight.items():
            expected = ExpectText(rows=[])
            compared = Comparison(broken[name], expected, self._suite.document, (*self._path, "faults"))
            for failure in compared.against(rows.to_pylist()):
                reason = self._suite.plan.guarantees.get(name)
                why = f": {reason.reason}" if reason is not None else ""
                what = f"{name} holds other rows after {words}{why}"
                self._fail(what, ("faults",), failure.difference)

    def _fail(self, message: str, path: Path, difference: tuple[str, ...] = ()) -> None:
        place = self._suite.document.place((*self._path, *path), key=path != ("name",))
        self._failures.append(Failure(message, place, difference))

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _now(self) -> int | None:
        text = self._example.now
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            place = self._suite.document.place((*self._path, "now"))
            hint = "write it as 2026-01-31T12:00:00Z"
            raise WorkflowError(f"now: {text!r} is not a time", hint=hint, place=place) from error
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)

    def _resolve(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put the secrets of the test in, or made-up ones: a test never sees a real one."""
        names = [m[1] for ref in secret_references(config) for m in re.finditer(r"\$\{secret:([^}]+)\}", ref)]
        stores = {name.partition("/")[0]: {"type": "env", "prefix": f"{name.partition('/')[0]}/"} for name in names}
        environ = {name: self._example.secrets.get(name, f"secret of the test {name}") for name in names}
        put_in: Callable[[Mapping[str, Any]], Mapping[str, Any]] = partial(
            resolve_secrets, secrets=stores, environ=environ
        )
        return put_in(config)


def _rows(world: World, name: str, arranged: Arranged) -> pa.Table:
    """Return what a destination holds; with the columns of the plan where it holds nothing."""
    import pyarrow as pa

    shelf = world.shelves[name]
    inputs = [o.schema.to_arrow().empty_table() for o in arranged.plan.input_outputs(name)]
    loose = [table for _, table in shelf.loose]
    return pa.concat_tables([*inputs, *shelf.rows, *loose], promote_options="permissive")


def _words(fault: FaultText) -> str:
    if fault.crash is not None:
        return f"a crash at {fault.crash} of epoch {fault.epoch}"
    often = f" {fault.times} times" if fault.times > 1 else ""
    return f"{fault.fail} failed{f' to {fault.at}' if fault.at else ''}{often}"


__all__ = ["run_suite"]
