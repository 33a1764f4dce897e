"""Which modes of a source and write modes of a destination are not right together, and what to do about it.

Each rule looks at rows that reach a destination as they left the source: nothing between makes one row of several. The
table in docs/write-modes.md says the same to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.plan_words import EdgeKind
from dataflare.workflow.components import mode, write_mode

if TYPE_CHECKING:
    from dataflare.errors import Place
    from dataflare.plan import Output
    from dataflare.workflow.drafts import Draft
    from dataflare.workflow.findings import Findings

_KEEPING = ("merge", "scd2")
"""Modes in which a row stays until a change tells that it is gone."""
_TIMES = ("timestamp", "datetime", "date")


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and a destination that its rows reach; `again`: the workflow runs by a schedule.

    What may not be meant is told at `place`.
    """

    source: Draft
    destination: Draft
    output: Output
    place: Place
    again: bool = False

    def judge(self, findings: Findings) -> None:
        """Tell all that may not be meant."""
        if self.output.kind is EdgeKind.APPEND:
            self._whole(findings)
            self._new(findings)
            self._keys(findings)
        else:
            self._changes(findings)
        self._streams(findings)

    # ---- what is asked of both ----------------------------------------------------------------------------------

    @property
    def _how(self) -> str:
        return mode(self.source)

    @property
    def _what(self) -> str:
        return write_mode(self.destination)

    @property
    def _names(self) -> tuple[str, str]:
        return self.source.id, self.destination.id

    @property
    def _cursor(self) -> str:
        """The column by which rows are new."""
        told = getattr(_setting(self.source, "incremental"), "cursor_field", "") or ""
        return told if self._how == "incremental" else ""

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _whole(self, findings: Findings) -> None:
        """Each run reads all rows."""
        (source, node), what = self._names, self._what
        if self._how != "full":
            return
        if what in _KEEPING and self.output.key:
            findings.warning(
                "deleted_rows_stay",
                f"rows that are deleted from {source!r} stay in {node!r}: mode full reads what is there, and "
                f"{what} takes nothing away",
                self.place,
                "if they shall go, read the changes, use mode: incremental with deletes: {compare: keys}, or overwrite",
            )
        traits: Any = self.source.cls.spec.traits if self.source.cls is not None else None
        kept = self.destination.text.type != "stdout" and traits is not None and "incremental" in traits.modes
        if what == "append" and self.again and kept:
            findings.warning(
                "rows_added_again",
                f"each run reads all rows of {source!r}, and append adds them to {node!r} again",
                self.place,
                "read what is new by mode: incremental, use write_mode: overwrite, or merge with a key",
            )

    def _new(self, findings: Findings) -> None:
        """A run reads rows that are new by a column; one that grows brings a row again."""
        (source, node), what, column = self._names, self._what, self._cursor
        grows = column in self.output.schema and self.output.schema[column].type in _TIMES
        if column and what in ("overwrite", "delete_insert"):
            lost = "" if what == "overwrite" else " of the same key"
            findings.warning(
                "new_rows_replace",
                f"mode incremental of {source!r} reads what is new, and {what} puts it in the place of all rows{lost} "
                f"in {node!r}",
                self.place,
                "use write_mode: merge or append, or mode: full",
            )
        if not grows or column in self.output.key:
            return
        if what == "append":
            findings.warning(
                "rows_repeat",
                f"a row of {source!r} whose {column} changes is read again, and append adds it to {node!r} once more",
                self.place,
                "use write_mode: merge with a key, unless rows never change",
            )
        if what == "insert_only":
            findings.warning(
                "changes_left_out",
                f"a row of {source!r} whose {column} changes is read again, and insert_only leaves {node!r} as it was",
                self.place,
                "use write_mode: merge with a key, unless rows never change",
            )

    def _keys(self, findings: Findings) -> None:
        """Several rows of a source may be one row of the destination; where they are read in parts, order is none."""
        key, own = self.output.key, self.destination.key
        ordered = self._how in ("full", "incremental") and self._what in ("merge", "insert_only", "scd2")
        if ordered and key and own and not set(key) <= set(own):
            told, by = ", ".join(key), ", ".join(own)
            findings.warning(
                "rows_share_keys",
                f"rows of {self.source.id!r} are told apart by {told}, but written to {self.destination.id!r} by {by}: "
                "of several with the same, nothing says which counts",
                self.place,
                f"write key: [{told}], or let `deduplicate` take the one that counts",
            )

    # ---- changes ------------------------------------------------------------------------------------------------

    def _changes(self, findings: Findings) -> None:
        (source, node), what = self._names, self._what
        finds = self._how == "incremental" and getattr(_setting(self.source, "incremental"), "deletes", None)
        if finds and what in _KEEPING and _setting(self.destination, "deletes") == "ignore":
            findings.warning(
                "deletes_ignored",
                f"{source!r} looks for deleted rows, and {node!r} ignores deletes",
                self.place,
                "let deletes be hard or soft, or leave out deletes at the source, which compares all keys for them",
            )
        if finds and what == "overwrite":
            findings.warning(
                "changes_replace",
                f"{source!r} tells changes, and overwrite leaves in {node!r} only those of one run",
                self.place,
                "keep a log by write_mode: append, or leave out deletes and use mode: full",
            )

    # ---- streams ------------------------------------------------------------------------------------------------

    def _streams(self, findings: Findings) -> None:
        (source, node), what, how = self._names, self._what, self._how
        run = what == "delete_insert" and _setting(self.destination, "replaces") == "run"
        if how in ("streaming", "cdc", "hybrid") and (what == "overwrite" or run):
            hint = "use write_mode: append" if what == "overwrite" else "set replaces: epoch"
            findings.warning(
                "never_shown",
                f"{what} shows the rows of {node!r} at the end of a run, and {source!r} in mode {how} has "
                "none until it is stopped",
                self.place,
                hint,
            )


def _setting(draft: Draft, name: str) -> Any:
    return getattr(getattr(draft.component, "config", None), name, None)


__all__ = ["Pair"]
