"""The MariaDB destination: exactly once into one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import destination
from dataflare.connectors.mariadb.catalogue import COLLATIONS, FACTS
from dataflare.connectors.mariadb.privileges import BESIDE, STAGED, TEMPORARY, Needs, entered, refused
from dataflare.connectors.mariadb.session import MariaSession
from dataflare.connectors.mariadb.settings import MariaConfig, MariaDestinationConfig
from dataflare.connectors.mariadb.values import exact, is_bytes, to_lines, tuple_lists
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.plan_words import Mechanism
from dataflare.sql.ddl import drop_table
from dataflare.sql.destination import SqlDestination
from dataflare.sql.dialect import Table
from dataflare.sql.maria_types import MARIADB
from dataflare.sql.naming import stage_table
from dataflare.sql.shape import shape_of
from dataflare.sql.surroundings import Wishes, would_alter
from dataflare.sql.ways import Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from dataflare.errors import DataFlareError
    from dataflare.schema import Column, Schema
    from dataflare.sql.dialect import Dialect

_ROWS = "_dataflare_rows"
_SENT_BYTES = 4 << 20
"""About so many bytes of rows are made into texts at once: there are several copies of those meanwhile."""
_CONVERTED = {"vector": "vec_fromtext({})", **dict.fromkeys(("point", "polygon", "geometry"), "st_geomfromtext({})")}


_TRAITS: dict[str, Any] = {
    "mechanisms": (Mechanism.DIRECT, Mechanism.STAGED),
    "write_modes": ("append", "overwrite", "merge", "insert_only", "update", "delete_insert", "scd2"),
    "parallel": True,
    "examples": [{"url": "mysql://app@localhost/shop", "password": "${secret:shop/PASSWORD}", "table": "orders"}],
}


@destination("mariadb", status="beta", **_TRAITS)
class MariaDestination(SqlDestination[MariaDestinationConfig]):
    """Writes rows into a table of MariaDB or MySQL by LOAD DATA, each exactly once.

    As the only database destination of a workflow it writes into the table itself, in one transaction an epoch;
    otherwise rows wait in staging tables beside the target. Either way the epoch's row in `_dataflare_epochs` (in the
    target's database) is committed with the rows, under the fence of the attempt. The tables must be of InnoDB.

    A table that is not there is made, with the key as its primary key; one that is there follows the columns that
    come: it gets those that it lacks, and wider types (`docs/tables-that-follow.md`). `merge` and `insert_only` need a
    unique index on the key, and hit rows by any other unique index as well. `overwrite` loads beside the table and
    replaces its rows at the end of the run. `merge`, `scd2` and `append` take changes of rows.
    `docs/write-modes.md` tells what each mode does, `docs/mariadb.md` what the server needs.

    Values are fitted to the columns' types; one that does not fit fails: nothing is cut or rounded, but by columns of
    fewer decimals for floats. Where the server forbids LOAD DATA LOCAL, rows are inserted by statements, more slowly.
    """

    dialect: Dialect = MARIADB

    @classmethod
    def read_back(cls, config: Mapping[str, Any], schema: Schema) -> tuple[str, Mapping[str, Any]]:
        """Read the table, as the types that were written."""
        shared = {k: v for k, v in config.items() if k in (*MariaConfig.model_fields, "table")}
        return "mariadb", {**shared, "types": {c.name: c.type for c in schema}}

    def connect(self) -> MariaSession:
        """Connect."""
        return self._connected(outside=False)

    def looking(self) -> MariaSession:
        """Connect, outside of the database where the user may not enter it."""
        return entered(self._connected)

    def _connected(self, outside: bool) -> MariaSession:  # noqa: FBT001 - of this file
        self._stage: Table | None = None
        self._rows = 0
        self._texts = JsonTexts()
        name = f"dataflare {self.context.workflow}/{self.context.node}"
        session = MariaSession(self.config, name, strict=True, outside=outside)
        self.dialect = session.dialect
        return session

    def target(self) -> Table:
        """Return the table with its database."""
        return self._maria().resolved(self.config.table)

    def privileges(self, table: Table) -> Iterator[DataFlareError]:
        """Ask the server what this user may do."""
        context, config, session = self.context, self.config, self._maria()
        try:
            shape = shape_of(context, config)
        except WorkflowError:
            return iter(())  # told already
        way = Way(self.dialect, table, shape, context, config, self.expression, self.comparable, session)
        there = session.columns(table) or {}
        straight = way.is_straight and not any(_conversion(there.get(c.name, "")) for c in shape.staged)
        direct = context.mechanism is Mechanism.DIRECT
        detour = TEMPORARY if (direct and not straight) or context.write_mode == "scd2" else ()
        beside = [*dict.fromkeys((*(BESIDE if way.goes_beside else ()), *(() if direct else STAGED), *detour))]
        deletes = shape.changes and context.write_mode == "merge" and config.deletes == "hard"
        alters = any(a.verdict == "alter" for a in would_alter(session, self.dialect, table, Wishes(context, config)))
        needs = Needs("deletes" if deletes else context.write_mode, beside, makes=config.create, alters=alters)
        return refused(session, table, needs)

    def prepare_session(self) -> None:
        """Learn the types of the target, and how rows get there: straight, or over a temporary table."""
        session = self._maria()
        self._refuse_engine()
        self._there = session.columns(self.table) or {}
        self._collations = dict(session.run(COLLATIONS, (self.table.schema, self.table.name)))
        convertible = any(_conversion(self._there.get(c.name, "")) for c in self.schema)
        self._straight = self.way.is_straight and not convertible
        self._temporary = Table(_ROWS, self.table.schema)
        if self.context.mechanism is Mechanism.DIRECT and not self._straight:
            session.run(self._definition(self._temporary, "temporary table"))

    def expression(self, column: Column, into: str) -> str:
        """Convert what the server does not convert by itself."""
        name = self.dialect.quote(column.name)
        return _conversion(self._there.get(into, "")).format(name) or name

    def load(self, rows: pa.Table) -> None:
        """Send rows into the target, or to where they wait."""
        session = self._maria()
        if self.context.mechanism is not Mechanism.DIRECT:
            place = self._staging_table()
        elif self._straight:
            place = self.destination_table()
        else:
            place = self._temporary
        if not session.in_transaction and place is not self._temporary:
            session.begin()
        rows = self._fitted(rows)
        part = max(1, rows.num_rows * _SENT_BYTES // max(1, rows.nbytes))
        for start in range(0, rows.num_rows, part):
            self._send(place, rows.slice(start, part))
        self._rows += rows.num_rows

    def bring(self) -> None:
        """Move the rows of the temporary table into the target."""
        if self._rows and not self._straight:
            self.move_from([self._temporary])

    def stage(self, table: Table) -> int:
        """Commit the rows of the staging table, and give it its final name."""
        rows, stage = self._rows, self._stage
        self._rows, self._stage = 0, None
        if stage is not None:
            session = self.session
            session.commit()
            session.run(f"rename table {self.dialect.reference(stage)} to {self.dialect.reference(table)}")
        return rows

    def forget(self) -> None:
        """Empty the temporary table."""
        if self._rows and not self._straight:
            self.session.run(f"delete from {self.dialect.reference(self._temporary)}")  # noqa: S608 - of our own
        self._rows = 0

    def copy_definition(self, table: Table, fresh: Table) -> None:
        """Make a table like the other one, with defaults, constraints and indexes, but for foreign keys."""
        self.session.run(
            f"create table if not exists {self.dialect.reference(fresh)} like {self.dialect.reference(table)}"
        )

    def swap(self, fresh: Table, table: Table) -> None:
        """Replace the rows: renaming tables would end the transaction, before it is noted that it was done."""
        session, of = self.session, self.dialect.reference(table)
        names = self.dialect.listed(self.shape.target.names)
        session.run(f"delete from {of}")  # noqa: S608
        session.run(f"insert into {of} ({names}) select {names} from {self.dialect.reference(fresh)}")  # noqa: S608
        self.drop(fresh)

    def close(self) -> None:
        """Disconnect."""
        super().close()
        if hasattr(self, "_texts"):
            self._texts.close()

    # ---- small things -------------------------------------------------------------------------------------------

    def _send(self, table: Table, rows: pa.Table) -> None:
        session, of = self._maria(), self.dialect.reference(table)
        if not session.loads:
            self._insert(of, rows)
            return
        names, sets = [], []
        for number, field in enumerate(rows.schema):
            name = self.dialect.quote(field.name)
            names.append(f"@v{number}" if is_bytes(field.type) else name)
            if is_bytes(field.type):
                sets.append(f"{name} = unhex(@v{number})")
        sql = (
            f"load data local infile 'rows' into table {of} character set utf8mb4 fields terminated by ',' "
            f"enclosed by '\"' escaped by '' lines terminated by '\n' ({', '.join(names)})"
            f"{' set ' if sets else ''}{', '.join(sets)}"
        )
        session.send(sql, to_lines(rows, self._texts), rows.num_rows)

    def _insert(self, of: str, rows: pa.Table) -> None:
        """Insert rows by statements of a bounded size."""
        head = f"insert into {of} ({self.dialect.listed(rows.column_names)}) values "  # noqa: S608
        for listed in tuple_lists(rows, self._texts):
            self.session.run(head + listed)

    def _fitted(self, rows: pa.Table) -> pa.Table:
        for number, name in enumerate(rows.column_names):
            if name in self._there and name in self.shape.values:
                rows = rows.set_column(number, name, exact(rows.column(name), self._there[name], name))
        return rows

    def _staging_table(self) -> Table:
        if self._stage is None:
            part = f"{self.context.index}_open"
            self._stage = Table(stage_table(self._owner, self.context.attempt, 0, part), self.table.schema)
            self.session.run(drop_table(self.dialect, self._stage))
            self.session.run(self._definition(self._stage, "table"))
        return self._stage

    def _definition(self, table: Table, kind: str) -> str:
        """Return the statement that makes a staging table: its texts compare as those of the target do."""
        lines = [f"{self.dialect.quote(c.name)} {self._staged_type(c)} null" for c in self.schema]
        if self.way.numbers_rows:
            lines.append(f"{self.dialect.ordinal} {self.dialect.numbering}")
        return f"create {kind} {self.dialect.reference(table)} ({', '.join(lines)}) engine = innodb"

    def _staged_type(self, column: Column) -> str:
        kind = self.dialect.column_type(column.type)
        collation = self._collations.get(column.name)
        if collation is None or column.name not in self.shape.values or not kind.startswith("longtext"):
            return kind
        declared = self._there[column.name]
        textual = declared if declared.startswith(("varchar", "char")) and column.name in self.shape.key else "longtext"
        return f"{textual} character set {collation.partition('_')[0]} collate {collation}"

    def _refuse_engine(self) -> None:
        """Refuse tables that know no transactions."""
        for table in (self.table, self._epochs.table):
            found = self.session.run(FACTS, (table.schema, table.name))
            if found and str(found[0][0]).lower() != "innodb":
                raise UnavailableError(
                    f"{table} is a table of {found[0][0]}, which cannot take an epoch whole or not at all",
                    hint=f"alter table {table} engine = InnoDB",
                )

    def _maria(self) -> MariaSession:
        session = self.session
        assert isinstance(session, MariaSession)
        return session


@destination("mysql", status="experimental", **_TRAITS)
class MysqlDestination(MariaDestination):
    """Writes rows into a table of MySQL, as `mariadb` does; it is not tested with MySQL itself yet."""


def _conversion(declared: str) -> str:
    """Return the template of the expression that makes a column's type of what is staged; "" where none is needed."""
    name = declared.partition("(")[0]
    return "cast({} as unsigned)" if name == "bit" else _CONVERTED.get(name, "")


__all__ = ["MariaDestination", "MysqlDestination"]
