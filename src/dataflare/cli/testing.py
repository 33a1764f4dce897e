"""The command `test`: runs the tests of workflow files and says which hold, and how the others differ."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dataflare.cli.console import DIM, GREEN, RED, findings_text, painted, say_error, write, write_json
from dataflare.errors import DataFlareError, InvalidWorkflowError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.testing.examples import Result

FAILED = 1


def test_command(path: Path, only: str, *, as_json: bool) -> int:
    """Run the tests of a file or of all files in a folder; return the exit code."""
    from dataflare.component import Registry
    from dataflare.testing.examples import find_suites

    registry = Registry.installed()
    run = _Run(registry, only, as_json=as_json)
    for file in find_suites(path):
        run.file(file)
    if not run.counts["passed"] + run.counts["failed"] and not run.wrong:
        hint = f"no test has {only!r} in its name" if only else "write tests: into the workflow file"
        raise WorkflowError(f"there are no tests in {path}", hint=hint)
    return run.finished()


class _Run:
    def __init__(self, registry: Registry, only: str, *, as_json: bool) -> None:
        self._registry, self._only, self._as_json = registry, only, as_json
        self.counts = {"passed": 0, "failed": 0}
        self.wrong: list[DataFlareError] = []

    def file(self, file: Path) -> None:
        """Run the tests of one file; one that is wrong does not keep others from being run."""
        from dataflare.testing.examples import run_suite, suite_of

        try:
            suite = suite_of(file, self._registry, os.environ)
            if suite is None:
                return
            first = True
            for result in run_suite(suite, self._only):
                if first and not self._as_json:
                    write(str(file))
                first = False
                self._tell(result)
        except DataFlareError as error:
            self.wrong.append(error)
            self._tell_wrong(file, error)

    def finished(self) -> int:
        """Say the sum; return the exit code."""
        passed, failed = self.counts["passed"], self.counts["failed"]
        if self._as_json:
            write_json({"tests": passed + failed, **self.counts, "wrong_files": len(self.wrong)})
        else:
            parts = [f"{passed} passed", *([f"{failed} failed"] if failed else [])]
            parts += [f"{len(self.wrong)} could not be run"] if self.wrong else []
            colour = RED if failed or self.wrong else GREEN
            write(painted(", ".join(parts), colour, sys.stdout))
        if self.wrong:
            return max(error.exit_code for error in self.wrong)
        return FAILED if failed else 0

    def _tell(self, result: Result) -> None:
        self.counts["passed" if result.passed else "failed"] += 1
        if self._as_json:
            write_json(result.as_json())
            return
        word = painted("ok  ", GREEN, sys.stdout) if result.passed else painted("FAIL", RED, sys.stdout)
        seconds = painted(f"{result.elapsed_seconds:.2f} s", DIM, sys.stdout)
        write(f"  {word}  {result.name}  {seconds}")
        for failure in result.failures:
            write(f"    {failure.place}: {failure.message}")
            for line in failure.difference:
                colour = {"-": RED, "+": GREEN}.get(line[0], "")
                write(f"      {painted(line, colour, sys.stdout)}")
        if not result.passed:
            for note in result.notes:
                write(f"    {painted('note:', DIM, sys.stdout)} {note}")

    def _tell_wrong(self, file: Path, error: DataFlareError) -> None:
        if self._as_json:
            say_error(error, as_json=True)
            return
        sys.stdout.flush()
        if isinstance(error, InvalidWorkflowError):
            sys.stderr.write(f"{file}\n{findings_text(error.findings, sys.stderr)}\n")
        else:
            say_error(error)


__all__ = ["test_command"]
