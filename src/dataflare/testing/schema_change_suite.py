"""What a destination of a database must do when the columns that reach it change, as tests over the real thing.

Subclass `SchemaChangeSuite`, say how to make a destination, and how to look into its table beside it.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.errors import DataError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.plan_words import Mechanism
from dataflare.schema import Column, Schema
from dataflare.sql.naming import Owner, fresh_table
from dataflare.testing.source_suite import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.component import Handle
    from dataflare.monitoring.events import Event
    from dataflare.sql.destination import SqlDestination

BEFORE = Schema.of({"id": "int32", "a": "int32", "b": "string"})
AFTER = Schema.of({"id": "int64", "z": "int64", "n": "string"})
ORDERS: Mapping[str, Any] = {"policy": "evolve", "drop": ["b"], "rename": {"a": "z"}}
WIDENED: Mapping[str, tuple[str, str, Any, Any]] = {
    "int8_int16": ("int8", "int16", -128, 32767),
    "int16_int32": ("int16", "int32", 32767, 2**31 - 1),
    "int32_int64": ("int32", "int64", -(2**31), 2**63 - 1),
    "uint8_int16": ("uint8", "int16", 255, -1),
    "uint32_int64": ("uint32", "int64", 2**32 - 1, -(2**63)),
    "int64_uint64": ("int64", "uint64", -(2**63), 2**63 - 1),
    "int16_float32": ("int16", "float32", 32767, 0.5),
    "int32_float64": ("int32", "float64", 2**31 - 1, 0.1),
    "float32_float64": ("float32", "float64", 0.5, 1e300),
    "int32_decimal": ("int32", "decimal(12,2)", -(2**31), Decimal("0.25")),
    "int64_decimal": ("int64", "decimal(21,2)", 2**63 - 1, Decimal("-0.25")),
    "decimal_digits": ("decimal(5,2)", "decimal(9,2)", Decimal("999.99"), Decimal("1234567.89")),
    "decimal_scale": ("decimal(5,2)", "decimal(8,5)", Decimal("-999.99"), Decimal("0.00001")),
    "decimal_both": ("decimal(5,0)", "decimal(6,4)", Decimal(99999), Decimal("0.0001")),
    "date_datetime": ("date", "datetime", dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3, 4)),  # noqa: DTZ001
}
"""By column: the type before and after, and the value of a row of before and of after."""


class _Killed(BaseException):
    """Stands for the end of a process between two statements."""


class SchemaChangeSuite(ABC):
    """Checks how tables follow; `retypes`: columns have types, and not just habits."""

    mechanism: ClassVar[Mechanism] = Mechanism.STAGED
    retypes: ClassVar[bool] = True

    @abstractmethod
    def new(self, settings: dict[str, Any], **changes: Any) -> SqlDestination[Any]:
        """Return a new instance, not opened, on the same target; `settings` are added to those of the connector."""

    @abstractmethod
    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Execute a statement beside the destination; `{}` in it is the name of the target."""

    # ---- what a table follows -----------------------------------------------------------------------------------

    def test_columns_are_renamed_added_dropped_and_widened(self) -> None:
        """And nothing is left to do when it is opened again."""
        self._filled()
        events: list[Event] = []
        head = self._open(AFTER, 2, ORDERS, events)
        assert [e.code for e in events] == ["schema.altered"] * len(events)  # type: ignore[attr-defined]
        assert len(events) >= (4 if self.retypes else 3)
        self._epoch(head, 2, [{"id": 2**40, "z": 2**41, "n": "new"}])
        head.close()
        assert self._rows("id, z, n") == [(1, 7, None), (2**40, 2**41, "new")]
        assert self._columns() == {"id", "z", "n"}
        events.clear()
        self._open(AFTER, 3, ORDERS, events).close()
        assert events == []

    def test_a_dropped_column_stays_where_nothing_shall_be_lost(self) -> None:
        """It is null from there on; without a policy as well."""
        self._filled()
        for attempt, ddl in ((2, {"policy": "lenient", "drop": ["b"]}), (3, {"drop": ["b"]})):
            head = self._open(Schema.of({"id": "int32", "a": "int32"}), attempt, ddl)
            self._epoch(head, attempt, [{"id": attempt, "a": attempt}])
            head.close()
        assert self._rows("id, a, b") == [(1, 7, "x"), (2, 2, None), (3, 3, None)]

    def test_a_column_of_the_key_is_never_dropped(self) -> None:
        """Whoever orders it."""
        self._filled()
        head = self._open(Schema.of({"id": "int32", "b": "string"}), 2, {"policy": "evolve", "drop": ["id", "a"]})
        head.close()
        assert self._columns() == {"id", "b"}

    def test_each_type_becomes_wider_with_what_is_there(self) -> None:
        """The extreme values of before stay, those of after find their place."""
        for ddl in ({}, {"policy": "lenient"}, {"policy": "evolve"}):
            self._emptied()
            before, after = (Schema.of({n: WIDENED[n][i] for n in WIDENED}) for i in (0, 1))
            head = self._open(before, 1, {}, mode="append")
            self._epoch(head, 1, [{n: w[2] for n, w in WIDENED.items()}])
            head.close()
            head = self._open(after, 2, ddl, mode="append")
            self._epoch(head, 2, [{n: w[3] for n, w in WIDENED.items()}])
            head.close()
            for name, (_, _, old, new) in WIDENED.items():
                found = {_plain(value) for (value,) in self._rows(name)}
                assert found == {_plain(old), _plain(new)}, name

    def test_a_type_that_does_not_become_wider_stays_and_is_told(self) -> None:
        """Unless the table shall follow."""
        if not self.retypes:
            return
        text = Schema.of({"id": "int32", "a": "string", "b": "string"})
        for policy in ("lenient", "exception"):
            self._filled()
            events: list[Event] = []
            head = self._open(text, 2, {"policy": policy}, events)
            self._epoch(head, 2, [{"id": 2, "a": "8", "b": None}])
            head.close()
            assert [e.code for e in events] == ["schema.not_altered"]  # type: ignore[attr-defined]
            assert self._rows("a") == [(7,), (8,)]
        for policy in ("evolve", "try_evolve"):
            self._filled()
            head = self._open(text, 2, {"policy": policy})
            self._epoch(head, 2, [{"id": 2, "a": "eight", "b": None}])
            head.close()
            assert self._rows("a") == [("7",), ("eight",)]

    def test_what_the_values_do_not_allow_is_refused(self) -> None:
        """Nothing is rounded that is there: the run ends, or the table stays."""
        if not self.retypes:
            return
        for policy in ("evolve", "try_evolve"):
            self._emptied()
            head = self._open(Schema.of({"id": "int32", "f": "float64"}), 1, {})
            self._epoch(head, 1, [{"id": 1, "f": 1.5}])
            head.close()
            whole = Schema.of({"id": "int32", "f": "int64", "n": "string"})
            events: list[Event] = []
            if policy == "evolve":
                assert "cannot follow" in self._refused(whole, {"policy": policy}).what
                continue
            head = self._open(whole, 3, {"policy": policy}, events)
            self._epoch(head, 3, [{"id": 3, "f": 4, "n": "new"}])
            head.close()
            assert [e.code for e in events] == ["schema.altered", "schema.not_altered"]  # type: ignore[attr-defined]
            assert self._rows("f, n") == [(1.5, None), (4.0, "new")]

    def test_a_column_may_be_null_where_the_planned_one_may(self) -> None:
        """Only where a policy is told: it is a rule of the table."""
        strict = Schema((Column("id", "int32"), Column("a", "int32", nullable=False)))
        self._emptied()
        head = self._open(strict, 1, {})
        self._epoch(head, 1, [{"id": 1, "a": 7}])
        head.close()
        loose = Schema.of({"id": "int32", "a": "int32"})
        head = self._open(loose, 2, {})
        try:
            self._epoch(head, 2, [{"id": 2, "a": None}])
        except DataError:
            pass  # as it should be: the table does not allow it
        else:
            raise AssertionError("a null was taken")
        head.close()
        head = self._open(loose, 3, {"policy": "lenient"})
        self._epoch(head, 3, [{"id": 3, "a": None}])
        head.close()
        assert self._rows("id, a") == [(1, 7), (3, None)]

    def test_nothing_is_altered_where_that_is_forbidden(self) -> None:
        """The error says what would do it; what is there already needs nothing."""
        self._filled()
        columns = self._columns()
        for ddl in ({"policy": "exception", "rename": {"a": "z"}}, {"policy": "exception"}, {"policy": "ignore"}):
            error = self._refused(AFTER, ddl)
            assert "alter table" in error.hint
        assert "has no column" in self._refused(AFTER, {}, {"new_columns": "error"}).what
        assert self._columns() == columns
        self._open(BEFORE, 4, {"policy": "exception"}).close()

    def test_what_would_be_altered_is_told_and_not_done(self) -> None:
        """For a command, and for `validate --level connect`."""
        self._filled()
        columns = self._columns()
        told = self._made(AFTER, 2, ORDERS).alterations()
        kinds = [(a.kind, a.column) for a in told]
        assert kinds[:3] == [("rename", "z"), ("add", "n"), ("drop", "b")]
        assert all(a.statement for a in told)
        found = self._made(AFTER, 2, ORDERS).check()
        assert {e.severity for e in found} == {"info"}
        assert len(found) == len(told)
        assert {e.severity for e in self._made(AFTER, 2, {"policy": "exception"}).check()} == {"error"}
        assert self._columns() == columns
        self._emptied()
        assert list(self._made(AFTER, 2, ORDERS).alterations()) == []

    # ---- what waits while columns change ------------------------------------------------------------------------

    def test_an_epoch_that_was_staged_before_goes_in_after(self) -> None:
        """The process died between the seal and the commit, and the next plan has other columns."""
        if self.mechanism is not Mechanism.STAGED:
            return
        for mode in ("merge", "append"):
            self._filled(mode)
            dead = self._open(BEFORE, 2, {}, mode=mode)
            handles = self._written(dead, 2, [{"id": 2, "a": 5, "b": "lost"}, {"id": 3, "a": None, "b": "lost"}])
            dead.close()
            for attempt in (3, 4):
                head = self._open(AFTER, attempt, ORDERS, mode=mode)
                head.commit(Epoch(2, 2), handles)
                assert self._rows("id, z, n") == [(1, 7, None), (2, 5, None), (3, None, None)]
                head.abort([])
                head.close()

    def test_what_overwrites_a_table_at_the_end_follows_as_well(self) -> None:
        """The fresh table holds epochs of before."""
        self._filled("append")
        head = self._open(BEFORE, 2, {}, mode="overwrite")
        self._epoch(head, 2, [{"id": 2, "a": 2, "b": "x"}])
        head.close()
        head = self._open(AFTER, 3, ORDERS, mode="overwrite")
        self._epoch(head, 3, [{"id": 2**40, "z": 3, "n": "new"}])
        assert self._rows("id, z") == [(1, 7)]
        head.finish()
        head.close()
        assert self._rows("id, z, n") == [(2, 2, None), (2**40, 3, "new")]
        assert fresh_table(Owner("default", "test", "node")) not in self._tables()

    def test_who_is_killed_between_two_statements_goes_on_where_the_table_stands(self) -> None:
        """At each of them, and again while it goes on."""
        self._filled()
        for statements in range(1, 40):
            head = self._made(AFTER, statements + 1, ORDERS)
            if self._opened_or_killed(head, statements):
                self._epoch(head, 2, [{"id": 2, "z": 2**41, "n": "new"}])
                head.close()
                break
        assert statements > 1
        assert self._rows("id, z, n") == [(1, 7, None), (2, 2**41, "new")]
        assert self._columns() == {"id", "z", "n"}

    def test_two_destinations_of_a_workflow_follow_each_for_itself(self) -> None:
        """One was killed before the other has begun."""
        self._filled()
        other = self._made(BEFORE, 1, {}, settings={"table": "other"}, node="other")
        other.open()
        self._epoch(other, 1, [{"id": 1, "a": 7, "b": "x"}])
        other.close()
        self._open(AFTER, 2, ORDERS).close()
        both = [
            self._open(AFTER, 3, ORDERS),
            self._made(AFTER, 3, ORDERS, settings={"table": "other"}, node="other"),
        ]
        both[1].open()
        for head in both:
            self._epoch(head, 2, [{"id": 2, "z": 2**41, "n": "new"}])
            head.close()
        expected = [(1, 7, None), (2, 2**41, "new")]
        assert self._rows("id, z, n") == self._rows("id, z, n", "other") == expected

    # ---- ways to play -------------------------------------------------------------------------------------------

    @abstractmethod
    def _emptied(self) -> None:
        """Remove the target and all that the destination keeps beside it."""

    @abstractmethod
    def _columns(self) -> set[str]:
        """Return the names of the target's columns."""

    @abstractmethod
    def _tables(self) -> set[str]:
        """Return the names of all tables."""

    def _rows(self, columns: str, table: str = "out") -> list[tuple[Any, ...]]:
        """Return rows in the order of their first column, read beside the destination."""
        return sorted(self.ask(f"select {columns} from {{}}{table}"), key=lambda row: str(row[0]).zfill(30))  # noqa: S608

    def _filled(self, mode: str = "merge") -> None:
        """Make the table by an earlier run."""
        self._emptied()
        head = self._open(BEFORE, 1, {}, mode=mode)
        self._epoch(head, 1, [{"id": 1, "a": 7, "b": "x"}])
        head.finish()
        head.close()

    def _made(
        self,
        schema: Schema,
        attempt: int,
        ddl: Mapping[str, Any],
        settings: dict[str, Any] | None = None,
        **changes: Any,
    ) -> SqlDestination[Any]:
        mode = changes.pop("mode", "merge")
        told = {"write_mode": mode, "key": ("id",) if mode == "merge" else (), "mechanism": self.mechanism, **changes}
        return self.new(settings or {}, schemas={"0": schema}, attempt=attempt, ddl=ddl, **told)

    def _open(
        self,
        schema: Schema,
        attempt: int,
        ddl: Mapping[str, Any],
        events: list[Event] | None = None,
        mode: str = "merge",
    ) -> SqlDestination[Any]:
        runtime = LocalRuntime((events if events is not None else []).append)
        head = self._made(schema, attempt, ddl, mode=mode, runtime=runtime)
        head.open()
        return head

    def _refused(self, schema: Schema, ddl: Mapping[str, Any], settings: dict[str, Any] | None = None) -> WorkflowError:
        head = self._made(schema, 2, ddl, settings)
        try:
            head.open()
        except WorkflowError as error:
            return error
        finally:
            head.close()
        raise AssertionError("it was taken")

    def _opened_or_killed(self, head: SqlDestination[Any], statements: int) -> bool:
        """Open; end after so many statements that alter something, as by a kill: the connection just breaks."""
        connect, left = head.connect, [statements]

        def mortal() -> Any:
            session = connect()
            run = session.run

            def counted(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                if sql.startswith(("alter table", "update ", "drop table", "create table", "insert into")):
                    left[0] -= 1
                    if left[0] < 0:
                        raise _Killed
                return run(sql, parameters)

            session.run = counted  # type: ignore[method-assign]
            return session

        head.connect = mortal  # type: ignore[method-assign]
        try:
            head.open()
        except _Killed:
            head.close()
            return False
        left[0] = 1 << 30
        return True

    def _written(self, head: SqlDestination[Any], number: int, rows: Sequence[dict[str, Any]]) -> list[Handle]:
        schema = head.context.schemas["0"].to_arrow()
        head.write(Batch.of(rows, schema=schema))
        return [plain(h) for h in head.prepare(Epoch(number, head.context.attempt))]

    def _epoch(self, head: SqlDestination[Any], number: int, rows: Sequence[dict[str, Any]]) -> None:
        handles = self._written(head, number, rows)
        head.commit(Epoch(number, head.context.attempt), handles)


def _plain(value: Any) -> Any:
    """Return a value that equals itself, whichever type a database told it in."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001
    if isinstance(value, str) and value[4:5] == "-":
        return dt.datetime.fromisoformat(value).replace(tzinfo=None)
    number = Decimal(str(value)) if isinstance(value, int | str | Decimal | float) else value
    return number.normalize() if isinstance(number, Decimal) else number


__all__ = ["SchemaChangeSuite"]
