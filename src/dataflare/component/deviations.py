"""The contract of a source: what becomes of columns and values that are not as planned, in one way for all sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataError, Place
from dataflare.monitoring.events import Noticed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component.context import StageContext
    from dataflare.schema import Schema

_NOTICES_MAX, _DIGITS_MAX = 100, 38
_SIGNED, _UNSIGNED = (tuple(f"{sign}int{bits}" for bits in (8, 16, 32, 64)) for sign in ("", "u"))
_FLOATS = ("float32", "float64")
_NUMBERS = (*_SIGNED, *_UNSIGNED, *_FLOATS)
ASIDE = ("skip", "dead_letter")
"""What `on_error` says where bad rows go out by `errors`."""


class Contract:
    """What one source may take for good; tells each thing once a run, and no more than a few.

    `what` is what the columns stand in: a file, a table. Without a word about `columns`, `missing` and `extra` count.
    """

    def __init__(
        self, context: StageContext, what: str, missing: str = "evolve", extra: str = "evolve", *, rows: bool = False
    ) -> None:
        """`rows`: each row names its fields, so that `discard_row` can mean those that have other ones."""
        self._context, self._what, self._rows = context, what, rows
        word = context.contract.get("columns")
        self.missing, self.extra = word or missing, word or extra
        self._noticed: set[tuple[str, ...]] = set()
        self._emptied: dict[tuple[str, str], int] = {}

    @property
    def data_type(self) -> str:
        """The word about values of another type."""
        return str(self._context.contract.get("data_type", "evolve"))

    def lacks(self, wanted: Schema, found: Sequence[str], name: str = "") -> list[str]:
        """Return the planned columns that are not there; raise DataError where they must be. Says nothing yet."""
        missing = [c for c in wanted if c.name not in found]
        hard = [c.name for c in missing if self.missing == "freeze" or not c.nullable]
        if hard:
            raise DataError(
                f"the {self._what} lacks {listed(hard)}; it has {listed(found)}",
                hint=f"correct the {self._what} or `columns`, or let columns be missing: contract: {{columns: evolve}}",
                place=Place(name),
            )
        return [c.name for c in missing]

    def tell_missing(self, missing: Sequence[str], name: str) -> None:
        """Tell that columns are null."""
        if missing:
            message = f"{name} lacks {listed(missing)}: null in its rows"
            self.notice(f"{self._what}.missing_columns", message)

    def has_more(self, extra: Sequence[str], name: str, *, tell: bool = True) -> None:
        """Take columns that are not planned for what the contract says; raise DataError where there may be none."""
        if extra and (self.extra == "freeze" or (self.extra == "discard_row" and not self._rows)):
            cure = "declare them, or let them be more: contract: {columns: evolve}"
            if self.extra == "discard_row":
                cure = f"discard_row is for rows that name their fields; of a {self._what}: {{columns: discard}}"
            raise DataError(
                f"the {self._what} has columns that the plan does not know: {listed(extra)}",
                hint=cure,
                place=Place(name),
            )
        if extra and tell and self.extra == "evolve":
            message = f"{name} has {listed(extra)} beside the planned columns: not read"
            self.notice(f"{self._what}.extra_columns", message)

    def check_types(self, wanted: Schema, found: Schema, name: str) -> None:
        """Refuse columns of another type than the planned one, or a narrower one, where types are frozen."""
        if self.data_type != "freeze":
            return
        for column in wanted:
            if column.name in found and wider_type(found[column.name].type, column.type) != column.type:
                raise DataError(
                    f"column {column.name!r} is {found[column.name].type} in this {self._what}, not {column.type}",
                    hint="declare its type under `columns`, or take what fits: contract: {data_type: evolve}",
                    place=Place(name),
                )

    def puts_aside(self) -> bool:
        """Tell whether rows with a value that does not fit go out by `errors`, instead of ending the run."""
        return self._context.on_error in ASIDE or self.data_type == "discard_row"

    def empties(self) -> bool:
        """Tell whether null stands for a value that does not fit."""
        return self.data_type == "discard"

    def emptied(self, where: str, column: str, kind: str, count: int) -> None:
        """Count values for which null stands; tell of the first, and each time that there are ten times as many."""
        before = self._emptied.get((where, column), 0)
        now = self._emptied[where, column] = before + count
        if count and len(self._emptied) <= _NOTICES_MAX and (not before or len(str(now)) > len(str(before))):
            values = "1 value" if now == 1 else f"{now:,} values"
            message = f"{where}: {values} of column {column!r} so far did not fit {kind}: null stands there"
            self._context.emit(Noticed(self._context.workflow, "values.discarded", message, self._context.node))

    def notice(self, code: str, message: str) -> None:
        """Tell each thing once, whichever file or table it is of."""
        key = (code, message.split(" ", 1)[1])
        if key not in self._noticed and len(self._noticed) < _NOTICES_MAX:
            self._noticed.add(key)
            self._context.emit(Noticed(self._context.workflow, code, message, self._context.node))


def wider_type(one: str, other: str) -> str | None:
    """Return the type that holds all values of both, as far as numbers widen; None where none does."""
    if one == other:
        return one
    if one in _NUMBERS and other in _NUMBERS and (wide := _wider_number(one, other)) is not None:
        return wide
    (whole, scale), (other_whole, other_scale) = _digits(one), _digits(other)
    if not (whole and other_whole):
        return None
    whole, scale = max(whole, other_whole), max(scale, other_scale)
    return f"decimal({whole + scale},{scale})" if whole + scale <= _DIGITS_MAX else None


def _wider_number(one: str, other: str) -> str | None:
    if one in _FLOATS or other in _FLOATS:
        return "float64"
    signs = [_SIGNED.index(n) for n in (one, other) if n in _SIGNED]
    others = [_UNSIGNED.index(n) for n in (one, other) if n in _UNSIGNED]
    if not signs:
        return _UNSIGNED[max(others)]
    rank = max([*signs, *(n + 1 for n in others)])  # a sign takes a bit
    return _SIGNED[rank] if rank < len(_SIGNED) else None


def _digits(kind: str) -> tuple[int, int]:
    """Return how many digits before and behind the point a type holds: (0, 0) where it is not exact."""
    if kind.startswith("decimal("):
        precision, scale = (int(n) for n in kind[8:-1].split(","))
        return precision - scale, scale
    bits = {"8": 3, "16": 5, "32": 10, "64": 19 + (kind == "uint64")}
    return bits[kind.partition("int")[2]] if kind in _NUMBERS and kind not in _FLOATS else 0, 0


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in quotes, the first ones where they are many."""
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


__all__ = ["ASIDE", "Contract", "listed", "wider_type"]
