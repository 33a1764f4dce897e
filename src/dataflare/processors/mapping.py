"""Sets, renames, drops and keeps columns."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from dataflare.batch import RESERVED
from dataflare.component import Config, Field, processor
from dataflare.errors import WorkflowError
from dataflare.expression.session import quoted
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.expression.step import RowProcessor, Step
from dataflare.plan_words import EdgeKind
from dataflare.processors.nesting import nested

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataflare.schema import Schema

TRANSFORMS = {
    "none": "{}",
    "lowercase": "lower(cast({} as varchar))",
    "uppercase": "upper(cast({} as varchar))",
    "trim": "trim(cast({} as varchar))",
    "ltrim": "ltrim(cast({} as varchar))",
    "rtrim": "rtrim(cast({} as varchar))",
    "length": "length(cast({} as varchar))",
    "reverse": "reverse(cast({} as varchar))",
    "md5": "md5(cast({} as varchar))",
    "sha256": "sha256(cast({} as varchar))",
    "abs": "abs({})",
    "round": "round({})",
    "to_string": "cast({} as varchar)",
    "to_int": "cast({} as bigint)",
    "to_float": "cast({} as double)",
    "to_boolean": "cast({} as boolean)",
    "to_date": "cast({} as date)",
    "to_timestamp": "cast({} as timestamptz)",
    "to_json": "cast(to_json({}) as varchar)",
}
_OTHER_NAMES = {
    "identity": "none",
    "lower": "lowercase",
    "upper": "uppercase",
    "to_lowercase": "lowercase",
    "to_uppercase": "uppercase",
    "to_number": "to_float",
    "to_double": "to_float",
    "to_integer": "to_int",
    "to_bool": "to_boolean",
    "to_datetime": "to_timestamp",
    "to_text": "to_string",
}


class FieldMapping(Config):
    """One line of the older form: copies a column, perhaps changed, to another one."""

    source: str = Field(description="The column, or a dotted path into a struct.")
    destination: str = Field(description="The column, or a dotted path that makes a nested struct.")
    transform: str = Field("none", description=f"One of {', '.join(TRANSFORMS)}.")


class MappingConfig(Config):
    """What becomes of the columns: first `set` and `mappings`, then `rename`, then `drop`, then `keep`."""

    set: dict[str, Sql] = Field({}, description="Columns by name and the expressions over the input that make them.")
    rename: dict[str, str] = Field({}, description="Old names to new ones.")
    drop: list[str] = Field([], description="Columns to leave out.")
    keep: list[str] = Field([], description="The only columns to keep, in this order; empty: all.")
    mappings: list[FieldMapping] = Field([], description="The older form of `set`.")


@processor(
    "mapping",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("skipped", "dead"),
    examples=[
        {"set": {"amount": "cast(amount as decimal(12,2))", "email": "lower(trim(email))"}, "drop": ["note"]},
        {"mappings": [{"source": "email", "destination": "user.email", "transform": "lowercase"}]},
    ],
)
class Mapping(RowProcessor[MappingConfig]):
    """Sets, renames, drops and keeps columns.

    A column that is set keeps its place, a new one goes to the end. All expressions of a node read its input: to read
    a column that a mapping makes, put a node behind it. Columns that carry changes (`_op` ...) always stay.
    """

    def step(self, inputs: Sequence[Schema]) -> Step:
        """Return the select list."""
        names = inputs[0].names
        columns = {name: quoted(name) for name in names} | self._set(inputs[0])
        for old, new in self.config.rename.items():
            _known(old, columns, "rename")
            if new in columns and new not in self.config.rename:
                raise WorkflowError(f"rename: there is a column {new!r} already", hint=f"drop {new!r} in a node before")
        columns = _renamed(columns, self.config.rename)
        for name in (*self.config.drop, *self.config.keep):
            _known(name, columns, "drop" if name in self.config.drop else "keep")
        left = [n for n in columns if n not in self.config.drop or n in RESERVED]
        if self.config.keep:
            left = [n for n in self.config.keep if n in left] + [n for n in left if n in RESERVED]
        made = tuple((name, columns[name]) for name in dict.fromkeys(left))
        return Step(self.context.node, made, nulls=self.context.on_error == "null")

    def _set(self, schema: Schema) -> dict[str, str]:
        if not self.config.mappings:
            return dict(self.config.set)
        paths = []
        for mapping in self.config.mappings:
            word = _OTHER_NAMES.get(mapping.transform.lower(), mapping.transform.lower())
            if word not in TRANSFORMS:
                raise WorkflowError(f"there is no transform {mapping.transform!r}", hint=_near(word, TRANSFORMS))
            paths.append((mapping.destination, TRANSFORMS[word].format(_path(mapping.source, schema))))
        return nested(paths, schema) | self.config.set


def _path(source: str, schema: Schema) -> str:
    if source in schema:
        return quoted(source)
    first, *rest = source.split(".")
    _known(first, schema.names, "mappings")
    return ".".join(quoted(p) for p in (first, *rest))


def _renamed(columns: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    renamed = {}
    for name, text in columns.items():
        new = names.get(name, name)
        if new in renamed:
            raise WorkflowError(f"rename: two columns would be called {new!r}", hint="give one of them another name")
        renamed[new] = text
    return renamed


def _known(name: str, names: Iterable[str], setting: str) -> None:
    if name not in names:
        raise WorkflowError(f"{setting}: there is no column {name!r}", hint=_near(name, names))


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


__all__ = ["TRANSFORMS", "FieldMapping", "Mapping", "MappingConfig"]
