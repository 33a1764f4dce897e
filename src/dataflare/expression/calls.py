"""Says how an aggregate is computed in two phases.

Most aggregates are sums, counts, minima of partial ones. DISTINCT gathers values as lists, which are not looked into
before the end; so do a few without a state of their own. The rest export DuckDB's state, which is a plain Arrow column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dataflare.errors import WorkflowError
from dataflare.expression.ordered import by_extremes, few
from dataflare.expression.pieces import CallText
from dataflare.expression.session import quoted

_ITSELF = {
    *("sum", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "product"),
    *("any_value", "arbitrary", "first", "last"),
}
_BY_ARRIVAL = ("first", "last")
_COUNTS = ("count", "count_star", "count_if", "countif")
_AVERAGES = ("avg", "mean")
_GATHERED = ("mode", "histogram", "entropy")
_OF_DISTINCT = {
    *("count", "sum", "avg", "mean", "min", "max", "product", "list", "array_agg", "string_agg", "group_concat"),
    *("listagg", "median", "stddev", "stddev_samp", "stddev_pop", "var_samp", "var_pop", "variance", "any_value"),
}
_IN_ORDER = {"list", "array_agg", "string_agg", "group_concat", "listagg"}
_SUMMABLE = ("HUGEINT", "BIGINT", "DOUBLE", "FLOAT", "DECIMAL")


@dataclass(frozen=True, slots=True)
class Part:
    """One column of partial state: how rows make it, and how partial rows make one of it (`{}` is the column).

    Where it is a list of the values of a DISTINCT, `repeated` makes it faster, with every value as often as it comes;
    `{}` in `merge` is then one of its different values. `call` is the aggregate that makes it, if it is one.
    """

    partial: str
    merge: str
    is_state: bool = False
    repeated: str = ""
    call: CallText | None = None

    @property
    def is_values(self) -> bool:
        """Whether it is a list of values, in which some may be there twice."""
        return bool(self.repeated)


@dataclass(frozen=True, slots=True)
class TwoPhases:
    """The parts of an aggregate, and its value over all partial rows (`{0}`, `{1}` are its columns).

    Where the part is a list of values, `{0}` is each different one, and `nothing` the result where there is none.
    """

    parts: tuple[Part, ...]
    final: str
    nothing: str = "null"


def two_phases(call: CallText, kind: str, sum_kind: str) -> TwoPhases:
    """Return how a call of result type `kind` is computed; `sum_kind` is the type of the sum of its argument, or "".

    Raises WorkflowError for what cannot be computed so.
    """
    call = by_extremes(call)
    if (sought := few(call)) is not None:
        part = Part(str(sought.call), sought.merge, call=sought.call)
        return TwoPhases((part,), _cast(sought.final, kind))
    plain = not (call.order or call.within or call.distinct)
    if call.distinct and call.name not in ("min", "max"):
        return _of_distinct(call, kind)
    call = replace(call, distinct=False)
    if call.name in _COUNTS and plain:
        total = "coalesce(sum({0}), 0)" if call.name in ("count", "count_star") else "sum({0})"
        return TwoPhases((Part(str(call), "sum({})", call=call),), _cast(total, kind))
    if call.name in _AVERAGES and plain and kind == "DOUBLE" and sum_kind.startswith(_SUMMABLE):
        parts = tuple(Part(str(c), "sum({})", call=c) for c in (replace(call, name="sum"), replace(call, name="count")))
        return TwoPhases(parts, _cast("cast(sum({0}) as double) / sum({1})", kind))
    if call.name in _ITSELF and (plain or call.distinct) and len(call.arguments) == 1:
        summable = call.name != "sum" or kind.startswith(_SUMMABLE)
        if summable and not (call.name in _BY_ARRIVAL and call.filter):
            merge = f"{call.name}({{}})"
            return TwoPhases((Part(str(call), merge, call=call),), _cast(merge.replace("{}", "{0}"), kind))
    return _of_all(call, kind, plain=plain)


def _of_all(call: CallText, kind: str, *, plain: bool) -> TwoPhases:
    """Return how an aggregate is computed that has no sum: from all values, or from the state that DuckDB exports."""
    if call.name in _GATHERED and plain and len(call.arguments) == 1:
        part = Part(str(replace(call, name="list")), "flatten(list({}))")
        return TwoPhases((part,), _cast(f"list_aggr(flatten(list({{0}})), '{call.name}')", kind))
    return TwoPhases((Part(f"{call} export_state", "combine_aggr({})", is_state=True),), "finalize(combine_aggr({0}))")


def _of_distinct(call: CallText, kind: str) -> TwoPhases:
    if call.order or call.within or call.name not in _OF_DISTINCT:
        raise WorkflowError(
            f"{call.name}(distinct ...) cannot be computed in parts{' with an order' if call.order else ''}",
            hint="leave out distinct, or sort the list in a mapping behind: list_sort(...)",
        )
    value, *extra = call.arguments
    gathered = CallText("list", (value,), distinct=True, filter=call.filter)
    repeated = replace(gathered, distinct=False)
    part = Part(str(gathered), "list({})", repeated=str(repeated), call=repeated)
    more = "".join(f", {each}" for each in extra).replace("{", "{{").replace("}", "}}")
    order = " order by {0}" if call.name in _IN_ORDER else ""
    final = _cast(f"{call.name}({{0}}{more}{order})", kind)
    return TwoPhases((part,), final, "0" if call.name == "count" else "null")


def _cast(sql: str, kind: str) -> str:
    return f"cast({sql} as {kind})"


def column(number: int) -> str:
    """Return the quoted name of a column of partial state."""
    return quoted(f"_s{number}")


__all__ = ["Part", "TwoPhases", "column", "two_phases"]
