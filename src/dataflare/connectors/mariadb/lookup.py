"""Looks rows up in MariaDB, by the keys that come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.component import lookup
from dataflare.connectors.mariadb.relations import MariaRelation, relations
from dataflare.connectors.mariadb.session import MariaSession
from dataflare.connectors.mariadb.settings import MariaLookupConfig, MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.connectors.mariadb.values import incoming, tuple_lists
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.schema import arrow_type
from dataflare.sql.lookup import SqlLookup
from dataflare.sql.maria_types import MARIADB
from dataflare.sql.reading import ordered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import SourceConnector

_VALUES_MAX = 999
"""Values in one statement: MariaDB makes a table of more, whose texts may have another collation than the column."""
_ANSWER_ROWS = 16_384
_MIXED = "Illegal mix of collations"
_EXAMPLE = {"url": "mysql://app@localhost/shop", "password": "${secret:shop/PASSWORD}", "table": "customers"}


@lookup("mariadb", status="beta", examples=[_EXAMPLE])
class MariaLookup(SqlLookup[MariaLookupConfig, MariaSession, MariaRelation]):
    """Looks rows up in a table, a view or a query of MariaDB or MySQL.

    It is asked for the keys that come, some hundred in one statement, and what it answers is remembered: the key
    columns should have an index. With `cache: all` all rows are read once instead. Texts are the same where all their
    bytes are, whatever the collation of the column takes for the same.
    """

    _converts = False

    def source(self) -> SourceConnector[Any]:
        """Return the source of the table."""
        return MariaSource(MariaSourceConfig(**self.config.of_source()))

    def connected(self) -> MariaSession:
        """Return a new connection, to which a backslash means nothing."""
        return MariaSession(self.config, f"dataflare {self.context.workflow}/{self.context.node}", strict=True)

    def relations(self, session: MariaSession) -> Mapping[str, MariaRelation]:
        """Return what the settings name."""
        return relations(session, MariaSourceConfig(**self.config.of_source()))

    def find(self, keys: pa.Table) -> pa.Table:
        """Ask for the rows of these keys, and of those that the server takes for the same."""
        session, relation, names = self.asked()
        kinds = {name: relation.schema[name].type for name in names}
        parts = [pa.table({n: pa.array([], arrow_type(kind)) for n, kind in kinds.items()})]
        for listed in tuple_lists(_askable(keys), JsonTexts(), _VALUES_MAX // keys.num_columns):
            for columns in self._answer(session, relation, (keys.column_names, names), listed):
                told = zip(columns, names, strict=True)
                parts.append(pa.table([incoming(c, kinds[n], n) for c, n in told], names=names))
        return pa.concat_tables(parts)

    def _answer(
        self, session: MariaSession, relation: MariaRelation, columns: tuple[list[str], list[str]], listed: str
    ) -> list[list[pa.Array]]:
        """Ask for some keys; texts that the character set of a column lacks are compared in another, by no index."""
        keys, names = columns
        try:
            return [*session.texts(_statement(relation, keys, names, listed, convert=self._converts), _ANSWER_ROWS)]
        except DataFlareError as error:
            if self._converts or _MIXED not in error.what:
                raise
            self._converts = True
        return [*session.texts(_statement(relation, keys, names, listed, convert=True), _ANSWER_ROWS)]


@lookup("mysql", status="experimental", examples=[_EXAMPLE])
class MysqlLookup(MariaLookup):
    """Looks rows up in MySQL, as the lookup `mariadb` does; it is not tested with MySQL itself yet."""


def _statement(relation: MariaRelation, keys: list[str], names: list[str], listed: str, *, convert: bool) -> str:
    """Return the query for a list of keys."""
    columns = ", ".join(relation.columns[name] for name in names)
    quoted = {name: MARIADB.quote(name) for name in keys}
    texts = [n for n in keys if convert and relation.schema[n].type == "string"]
    same = ", ".join({**quoted, **{n: f"convert({quoted[n]} using utf8mb4)" for n in texts}}.values())
    order = f" order by {ordered(relation)}" if relation.order else ""
    return f"select {columns} from {relation.source} where ({same}) in ({listed}){order}"  # noqa: S608 - quoted


def _askable(keys: pa.Table) -> pa.Table:
    """Return the keys without those that no row of MariaDB has; raise WorkflowError where none can be asked for."""
    for name in keys.column_names:
        kind = keys.schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_interval(kind) or pa.types.is_duration(kind):
            raise WorkflowError(f"keys of the type {kind} cannot be asked for", hint="set cache: all")
        if pa.types.is_floating(kind):
            keys = keys.filter(pc.is_finite(keys.column(name)))
    return keys


__all__ = ["MariaLookup", "MysqlLookup"]
