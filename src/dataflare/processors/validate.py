"""Judges rows by named rules, and all of them by what is expected in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.changes import OP, value_in
from dataflare.component import Processor, processor
from dataflare.component.processor import Port
from dataflare.errors import DataError, DataFlareError, Finding, InvalidWorkflowError, Place, WorkflowError
from dataflare.expression.chain import Chain
from dataflare.expression.deletes import judged
from dataflare.expression.reject import Rejected
from dataflare.expression.session import quoted
from dataflare.expression.step import Step
from dataflare.expression.typed import typed
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import known
from dataflare.processors.deduplicate_tables import SeenKeys
from dataflare.processors.validate_rules import ValidateConfig, broken
from dataflare.schema import REJECTED, Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.processors.validate_rules import Rule, Severity


@processor(
    "validate",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("skipped", "dead"),
    examples=[
        {
            "rules": {
                "has_mail": {"columns": "email", "not_null": True, "matches": "@"},
                "positive": {"check": "amount > 0", "severity": "warn", "rate_max": "5%"},
                "known_status": {"columns": "status", "values": ["paid", "open"], "where": "amount > 0"},
            },
            "expect": {"rows": {"min": 1}, "rejected_max": "1%"},
        },
        {"rules": {"once": {"columns": ["order_id"], "unique": True, "within": 1000000}}, "warnings": "doubts"},
    ],
)
class Validate(Processor[ValidateConfig]):
    """Judges rows by named rules, and all of them by what is expected in the end.

    Every row is judged by every rule. One that fails a rule of severity `error` follows `on_error`: with `dead_letter`
    it leaves by `errors` with the names of all such rules, with `skip` it is left out, and with `fail`, the default,
    the run ends. A rule of severity `warn` lets rows go on, counted and, with `warnings`, named in a column; one of
    severity `fail` ends the run whatever `on_error` says. A rule whose expression fails for a row is not met by it.

    The counts of each rule are kept with the epochs: a run that was killed and goes on tells those of all its rows.
    `expect` and `rate_max` are judged by them when a bounded input has ended, before the last epoch is sealed: what
    earlier epochs have written stays, `write_mode: overwrite` changes nothing.

    Of changes (rows with `_op`) those that leave no row are not judged, nor is a value that is unchanged: a rule that
    reads it is met. An update that is left out leaves the row as it was.

    `unique` remembers the values of its columns in the checkpoint; memory grows with them unless `within` bounds it.
    Which of several equal rows is the first one hangs on the order of arrival, which is that of the source where one
    task reads it.
    """

    tells_tags = True
    knows_unchanged = True

    def __init__(self, config: ValidateConfig) -> None:
        """Know nothing yet."""
        super().__init__(config)
        self._chain: Chain | None = None
        self._seen: SeenKeys | None = None
        self._made: list[str] = []
        self._counts: dict[str, int] = {}

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come, and that of warnings."""
        schema, findings = inputs[0], []
        if self.context.on_error == "null":
            raise WorkflowError("on_error: null means nothing for a rule", hint="use severity: warn")
        if self.config.unique is not None and OP in schema:
            what = "a unique rule would take the changes of a row for duplicates"
            raise WorkflowError(what, hint="put `materialise` before it")
        if self.config.warnings.lower() in (n.lower() for n in schema.names):
            raise WorkflowError(f"two columns would be called {self.config.warnings!r}", hint="set `warnings`")
        for name, rule in self.config.rules.items():
            if (error := self._wrong(rule, schema)) is not None:
                what = f"rule {name!r}: {error.what}"
                findings.append(Finding("error", error.code, what, error.hint, Place(path=name)))
        if findings:
            raise InvalidWorkflowError(findings)
        told = Column(self.config.warnings, "string", told=value_in(schema))
        return {"": Schema((*schema, told) if self.config.warnings else schema.columns), "errors": REJECTED}

    @staticmethod
    def _wrong(rule: Rule, schema: Schema) -> DataFlareError | None:
        """Return the first thing that is wrong with a rule over rows of this schema."""
        try:
            known(rule.columns, schema.names, "columns")
        except WorkflowError as error:
            return error
        for condition in (rule.check, rule.where, rule.condition()):
            _, problems = typed([Step("", condition=condition, aside=("",))], schema)
            if problems:
                return problems[0].error
        return None

    def keys(self) -> tuple[str, ...]:
        """Return the columns that are unique: equal ones must meet."""
        unique = self.config.unique
        return tuple(unique[1].columns) if unique is not None else ()

    def ports(self, count: int) -> Sequence[Port]:
        """Return that rows meet which may be duplicates."""
        return [Port(self.keys())] * count

    def varies(self) -> str:
        """Tell that the first of equal rows is the first to arrive."""
        return "tells duplicates by the order in which rows come in" if self.config.unique is not None else ""

    def open(self) -> None:
        """Prepare the statement that judges."""
        schema, context = self.context.schemas["0"], self.context
        name = "__rule"
        while any(n.lower().startswith(name) for n in schema.names):
            name += "_"
        conditions = [judged(rule.condition(), schema) for rule in self.config.rules.values()]
        if (unique := self.config.unique) is not None:
            conditions.append(f"coalesce((\n{unique[1].where or 'true'}\n), false)")
            width = unique[1].within
            self._seen = SeenKeys(schema.to_arrow(), self.keys(), width and width + 1, context)
        self._made = [f"{name}{n}" for n in range(len(conditions))]
        columns = (*((n, quoted(n)) for n in schema.names), *zip(self._made, conditions, strict=True))
        step = Step(context.node, columns, aside=tuple(self._made))
        self._chain = Chain([step], schema, policies=["null"], budget=context.budget, epoch_time=context.epoch_time)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Judge a batch."""
        import pyarrow as pa
        import pyarrow.compute as pc

        del port
        assert self._chain is not None
        result = self._chain.run(batch.rows).rows
        rows = result.drop_columns(self._made)
        failing = self._failing(rows, [pc.fill_null(result.column(n), fill_value=False) for n in self._made])
        for name, mask in failing.items():
            self._count(f"rule.{name}", pc.sum(mask).as_py() or 0)
        self._stop(failing)
        reasons = _joined({n: f"rule {n!r}: {r.told()}" for n, r in self._of("error").items()}, failing, rows, "; ")
        told = _joined({n: n for n in self._of("warn")}, failing, rows, ",")
        bad = pc.is_valid(reasons)
        lost = pc.sum(bad).as_py() or 0
        if lost and self.context.on_error == "dead_letter":
            rejected = Rejected(self.context.node, rows.filter(bad), reasons.filter(bad), self.context.schemas["0"])
            yield batch.replace(rejected.as_errors(), "errors")
        elif lost:
            self._count("skipped", lost)
        if self.config.warnings:
            rows = rows.append_column(pa.field(self.config.warnings, pa.string()), told)
        yield batch.replace(rows.filter(pc.invert(bad)) if lost else rows, "")

    def _of(self, severity: Severity) -> dict[str, Rule]:
        return {name: rule for name, rule in self.config.rules.items() if rule.severity == severity}

    def _failing(self, rows: pa.Table, met: Sequence[pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
        """Return by rule whether each row fails it; `met` are the columns of the statement."""
        import pyarrow.compute as pc

        failing = {}
        for (name, rule), good in zip(self.config.rules.items(), met, strict=False):
            failing[name] = pc.invert(good)
            if rule.unique:
                failing[name] = pc.or_(failing[name], self._repeated(rows, rule, met[-1]))
        return failing

    def _repeated(self, rows: pa.Table, rule: Rule, judged: pa.ChunkedArray) -> pa.Array:
        """Return whether each row has the values of an earlier one, and remember its own."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert self._seen is not None
        for column in rule.columns:
            judged = pc.and_(judged, pc.is_valid(rows.column(column)))
        places = pc.indices_nonzero(judged)
        fresh = places.take(self._seen.fresh(rows.take(places), None))
        return pc.and_(judged, pc.invert(pc.is_in(pa.arange(0, rows.num_rows, 1), value_set=fresh.cast(pa.int64()))))

    def _stop(self, failing: Mapping[str, pa.ChunkedArray]) -> None:
        """Raise DataError for the first rule that bears no failing row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        stern = self._of("fail") | (self._of("error") if self.context.on_error == "fail" else {})
        for name, rule in stern.items():
            first = pc.index(failing[name], pa.scalar(value=True)).as_py()
            if first >= 0:
                kept = "set on_error: {action: dead_letter} on the node"
                raise DataError(
                    f"rule {name!r}: {rule.told()} (row {first} of its batch)",
                    hint="correct the data or the rule" + (f", or {kept}" if rule.severity == "error" else ""),
                ).in_node(self.context.node)

    def fates(self) -> Mapping[str, int]:
        """Return how many rows were left out, and how many fail each rule."""
        counts, self._counts = self._counts, {}
        return {**{f"rule.{name}": 0 for name in self.config.rules}, **counts}

    def verdict(self, totals: Mapping[str, int]) -> None:
        """Raise DataError where the rows of the whole run are not as expected."""
        if problems := broken(self.config, totals):
            raise DataError(
                f"what is expected of the rows does not hold: {'; '.join(problems)}",
                hint="see what the source has sent, or change `expect` or `rate_max`",
            ).in_node(self.context.node)

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the values that were there."""
        return self._seen.state() if self._seen is not None else {}

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self._seen.segments() if self._seen is not None else ()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        if self._seen is not None:
            self._seen.restore(state)

    def close(self) -> None:
        """Free the plans."""
        for part in (self._chain, self._seen):
            if part is not None:
                part.close()

    def _count(self, fate: str, rows: int) -> None:
        self._counts[fate] = self._counts.get(fate, 0) + rows


def _joined(
    texts: Mapping[str, str], failing: Mapping[str, pa.ChunkedArray], rows: pa.Table, between: str
) -> pa.ChunkedArray:
    """Return for each row the texts of the rules that it fails, null where there are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
    failed = {name: failing[name] for name in texts if pc.any(failing[name]).as_py()}
    if not failed:
        return nothing
    told = [pc.if_else(mask, between + texts[name], "") for name, mask in failed.items()]
    joined = pc.utf8_slice_codeunits(pc.binary_join_element_wise(*told, ""), len(between))
    return pc.if_else(pc.equal(joined, ""), nothing, joined)


__all__ = ["Validate"]
