"""Calls a function of the program that built the workflow: in this process, by the same rules as a worker does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import WorkflowError
from dataflare.processors.python_modes import MODES, Mode, Rejected, ShapeError
from dataflare.processors.python_process import MisshapenError, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.processors.python_process import Work

HERE = "here"
"""The module of such functions: `here:name`."""


class FunctionHere:
    """Takes the place of a worker process. A function that hangs cannot be stopped, nor its memory be bounded."""

    def __init__(self, work: Work, functions: Mapping[str, Callable[[Any], Any]]) -> None:
        """Start nothing."""
        self._work, self._functions = work, functions
        self._mode: Mode | None = None
        self.file = ""

    def start(self) -> None:
        """Find the function; raise WorkflowError where this is another program."""
        name = self._work.head["name"]
        if name not in self._functions:
            raise WorkflowError(
                f"{HERE}:{name} is a function of the program that built this workflow",
                hint="run the workflow there, or name the function as package.module:name",
            )
        function = self._functions[name]
        code = getattr(function, "__code__", None)
        self.file = code.co_filename if code is not None else ""
        self._mode = MODES[self._work.head["mode"]](function, self._work.output, memoryview(bytearray(8)).cast("Q"))

    def stop(self) -> None:
        """There is nothing to stop."""

    def run(self, rows: pa.Table, *, sources: bool, first_only: bool) -> Result:
        """Have the function work on rows; raise DataError when what it returned has the wrong shape."""
        assert self._mode is not None
        rejected = Rejected(self.file, first_only=first_only)
        try:
            answer = self._mode.run(rows, rejected)
        except ShapeError as error:
            raise MisshapenError(str(error)) from error
        if sources and len(answer.sources) != answer.rows.num_rows:
            raise MisshapenError("the function returned another number of rows, so other columns cannot pass it by")
        origins = pa.chunked_array([pa.array(answer.sources, pa.int32())]) if sources else None
        return Result(answer.rows, origins, dict(sorted(rejected.rows.items())))


__all__ = ["HERE", "FunctionHere"]
