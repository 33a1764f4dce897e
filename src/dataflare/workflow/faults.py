"""Turns what a component says about its settings into findings at the place of the setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import Finding, InvalidWorkflowError, WorkflowError
from dataflare.expression.explain import WrongExpressionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataflare.errors import DataFlareError, Place
    from dataflare.schema import Schema
    from dataflare.workflow.document import Path
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.findings import Findings


class Faults:
    """Places the errors of components."""

    def __init__(self, outline: Outline, findings: Findings) -> None:
        """Report to `findings`."""
        self._outline, self._findings = outline, findings

    def tell(self, draft: Draft, error: DataFlareError, *, column: str = "", text: str = "") -> None:
        """Report an error of a node, at the setting `column` or with the value `text` where there is one.

        Without them at the setting that the error itself names by the path of its place; one that carries several
        findings is reported as so many errors.
        """
        if isinstance(error, InvalidWorkflowError):
            for finding in error.findings:
                self.tell(draft, WorkflowError(finding.message, hint=finding.hint), column=finding.place.path)
            return
        text = error.text if isinstance(error, WrongExpressionError) and not text else text
        if not (column or text or error.place.file) and error.place.path != draft.id:
            column = error.place.path
        place = self._placed(draft, error, column, text)
        own = "workflow.expression" if column or text else "workflow.component"
        code = own if error.code == WorkflowError.code else error.code
        what = f"{error.place}: {error.what}" if error.place.file else error.what
        self._findings.add(Finding(error.severity, code, f"{draft.id}: {what}", error.hint, place))

    def remark(self, draft: Draft, remark: str) -> None:
        """Report what a component has to say of its settings that is no error."""
        self._findings.warning("remark", f"{draft.id}: {remark}", self._outline.place(draft, "config", key=True))

    def foreign(self, draft: Draft, error: Exception) -> None:
        """Report an exception that the code of a component let through."""
        name = type(error).__name__
        what = f"{draft.id}: no column {error}" if isinstance(error, KeyError) else f"{draft.id}: {name}: {error}"
        place = self._outline.place(draft, "config")
        hint = f"the component {draft.text.type!r} could not say what it puts out"
        self._findings.error("component", what, place, hint)

    def different(self, draft: Draft, schemas: Sequence[Schema]) -> None:
        """Report inputs of a row-wise node whose columns are not the same."""
        shapes = [[f"{c.name} {c.type}" for c in s] for s in schemas]
        other = next(s for s in shapes if s != shapes[0])
        apart = sorted(set(shapes[0]) ^ set(other)) or ["the order of the columns"]
        self._findings.error(
            "columns_differ",
            f"the inputs of {draft.id!r} differ: {', '.join(apart)}",
            self._outline.place(draft, "inputs"),
            "bring them together with a union node",
        )

    def reserved(self, draft: Draft, columns: Iterable[str]) -> None:
        """Report columns whose names are reserved for changes."""
        for column in dict.fromkeys(columns):
            self._findings.error(
                "reserved_column",
                f"{draft.id}: the column name {column!r} is reserved for changes",
                self.place(draft, column, ""),
                f"call it {column.strip('_')!r}",
            )

    def place(self, draft: Draft, column: str, text: str) -> Place:
        """Return where a column or an expression is written in the settings of a node, else where they start."""
        path, of_key = self._path(draft, column, text)
        return self._outline.document.place(path, key=of_key)

    def _placed(self, draft: Draft, error: DataFlareError, column: str, text: str) -> Place:
        """Return the place of an error: that of a mistake inside of an expression in its line and column."""
        path, of_key = self._path(draft, column, text)
        value = self._outline.document.at(path)
        inner = error.place
        if inner.line and not inner.file and value is not None and value.data == text:
            return self._outline.document.inside(path, inner.line, inner.column)
        return self._outline.document.place(path, key=of_key)

    def _path(self, draft: Draft, column: str, text: str) -> tuple[Path, bool]:
        """Return the path of a column or an expression in the settings of a node, and whether its key is meant."""
        path: Path = (*draft.path, "config")
        config = self._outline.document.at(path)
        named: tuple[Path, bool] | None = None
        written: Path | None = None
        for at, value in config.walk(path) if config is not None else ():
            if text and value.data == text:
                if at[-1] == column:
                    return at, False
                written = written or at
            if column and named is None and (at[-1] == column or value.data == column):
                named = at, at[-1] == column
        if written is not None:
            return written, False
        return named or (path, True)
