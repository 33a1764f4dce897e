"""The MariaDB connectors keep the contracts of sources, destinations and write modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.mariadb import database

from dataflare.connectors.mariadb.destination import MariaDestination, MysqlDestination
from dataflare.connectors.mariadb.settings import MariaDestinationConfig, MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource, MysqlSource
from dataflare.plan_words import Mechanism
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite
from dataflare.testing.source_suite import SourceSuite
from dataflare.testing.stage import staged
from dataflare.testing.write_mode_suite import WriteModeSuite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.mariadb


class _Place:
    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with database() as self.database:
            self.made: list[Any] = []
            yield
            for instance in self.made:
                instance.close()

    made_by: ClassVar[type[Any]] = MariaDestination

    def destination(self, settings: dict[str, Any], changes: dict[str, Any]) -> MariaDestination:
        told = {"url": self.database.url, "table": "out", "lock_timeout": "2s", **settings}
        self.made.append(staged(self.made_by(MariaDestinationConfig(**told)), **changes))
        return self.made[-1]


class _Destination(_Place, DestinationSuite):
    fences = True

    def new(self, **changes: Any) -> MariaDestination:
        return self.destination({}, {"schemas": {"0": SUITE_SCHEMA}, **changes})

    def visible(self) -> list[dict[str, Any]]:
        return [{"id": i, "name": n} for i, n in self.database.run("select id, name from `out`")]

    def left_over(self) -> int:
        return sum(name.startswith("_dataflare_stage") for name in self.database.tables())


class TestMariaDirect(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT

    def _parallel(self) -> bool:
        return False  # a decider has one instance


class TestMariaStaged(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class TestMysqlStaged(_Destination):
    made_by = MysqlDestination
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Modes(_Place, WriteModeSuite):
    seeds: ClassVar[Sequence[int]] = range(1)

    def new(self, settings: dict[str, Any], **changes: Any) -> MariaDestination:
        return self.destination(settings, changes)

    def table(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        listed = ", ".join(f"`{c}`" for c in columns)
        found = self.database.run(f"select {listed} from `out`")
        return [dict(zip(columns, map(_moment, row), strict=True)) for row in found]

    def emptied(self) -> None:
        for instance in self.made:
            instance.close()
        for name in self.database.tables():
            self.database.run(f"drop table `{name}`")


class TestMariaModesDirect(_Modes):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestMariaModesStaged(_Modes):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Source(_Place, SourceSuite):
    made_by = MariaSource
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _rows(self, _place: None) -> None:
        run = self.database.run
        run("create table t (id int primary key, name text, amount decimal(8,2), at timestamp(6))")
        run(
            "insert into t select cast(seq as signed) * 3 - 20, concat('name ', seq), seq / 4, "
            "'2026-01-01' + interval seq second from seq_0_to_49"
        )
        run("create table k (a varchar(20), b int unsigned, e enum('z', 'b', 'a'), v double, primary key (a, e, b))")
        run("insert into k select concat('k', seq % 5), seq, 1 + seq % 3, seq / 2 from seq_0_to_49")

    def new(self, **changes: Any) -> MariaSource:
        config = MariaSourceConfig(url=self.database.url, **{"fetch_rows": 7, **self.settings})
        self.made.append(staged(self.made_by(config), **changes))
        return self.made[-1]


class TestTableByWholeKey(_Source):
    settings: ClassVar = {"table": "t", "split_rows": 20}


class TestTableByKey(_Source):
    settings: ClassVar = {"table": "k"}


class TestQueryByKey(_Source):
    settings: ClassVar = {"query": "select id, name, amount from t where id > 0;", "key": ["id"]}


class TestQueryByCount(_Source):
    made_by = MysqlSource
    settings: ClassVar = {"query": "select name, amount from t order by id"}


class TestWindow(_Source):
    settings: ClassVar = {"table": "t", "incremental": {"cursor_field": "at"}}

    def new(self, **changes: Any) -> MariaSource:
        return super().new(**{"mode": "incremental", **changes})


def _moment(value: Any) -> Any:
    """Return an instant with its zone, which the driver does not tell."""
    import datetime as dt

    return value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value


del _Destination, _Modes, _Source
