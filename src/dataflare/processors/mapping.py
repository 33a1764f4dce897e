"""Sets, renames, drops and keeps columns."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dataflare.batch import RESERVED
from dataflare.changes import BEFORE
from dataflare.component import Config, Field, processor
from dataflare.errors import Place, WorkflowError
from dataflare.expression.session import quoted
from dataflare.expression.setting import Sql  # noqa: TC001 - pydantic reads it
from dataflare.expression.step import RowProcessor, Step
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import Names, known, near
from dataflare.processors.fields import Fields, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from dataflare.schema import Column, Schema

TRANSFORMS = {
    "none": "{}",
    "lowercase": "lower(cast({} as varchar))",
    "uppercase": "upper(cast({} as varchar))",
    "capitalize": "upper(left(cast({0} as varchar), 1)) || lower(substr(cast({0} as varchar), 2))",
    "trim": "trim(cast({} as varchar))",
    "squeeze": "trim(regexp_replace(cast({} as varchar), '\\s+', ' ', 'g'))",
    "digits": "regexp_replace(cast({} as varchar), '\\D+', '', 'g')",
    "without_accents": "strip_accents(cast({} as varchar))",
    "empty_to_null": "nullif(trim(cast({} as varchar)), '')",
    "ltrim": "ltrim(cast({} as varchar))",
    "rtrim": "rtrim(cast({} as varchar))",
    "length": "length(cast({} as varchar))",
    "reverse": "reverse(cast({} as varchar))",
    "md5": "md5(cast({} as varchar))",
    "sha256": "sha256(cast({} as varchar))",
    "url_encode": "url_encode(cast({} as varchar))",
    "url_decode": "url_decode(cast({} as varchar))",
    "abs": "abs({})",
    "floor": "floor({})",
    "ceil": "ceil({})",
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
    transform: Names = Field(["none"], description=f"One, or several that follow one another: {', '.join(TRANSFORMS)}.")

    def sql(self, value: str) -> str:
        """Return the expression of a value; raise WorkflowError for a transform that there is not."""
        for name in self.transform:
            word = _OTHER_NAMES.get(name.lower(), name.lower())
            if word not in TRANSFORMS:
                what, place = f"there is no transform {name!r}", Place(path=name)
                raise WorkflowError(what, hint=near(word, TRANSFORMS), place=place)
            value = TRANSFORMS[word].format(value)
        return value


class MappingConfig(Config):
    """What becomes of the columns: first `mappings` and `set`, then `rename`, then `drop`, then `keep`.

    A name with dots, such as `user.address.city`, is a field of a struct, unless there is a column of that name.
    """

    set: dict[str, Sql] = Field(
        {}, description="Columns or fields by name and the expressions over the input that make them."
    )
    rename: dict[str, str] = Field(
        {}, description="Old names to new ones; with dots a field gets another name or place: {user.mail: mail}."
    )
    drop: list[str] = Field([], description='Columns and fields to leave out, or patterns of columns such as "tmp_*".')
    keep: list[str] = Field(
        [], description="The only columns and fields to keep, in this order, or patterns; empty: all."
    )
    mappings: list[FieldMapping] = Field([], description="The older form of `set`.")


@processor(
    "mapping",
    accepts=(EdgeKind.APPEND, EdgeKind.UPSERT, EdgeKind.RETRACT),
    counts=("skipped", "dead"),
    examples=[
        {"set": {"amount": "cast(amount as decimal(12,2))", "email": "lower(trim(email))"}, "drop": ["note"]},
        {
            "set": {"user.city": "upper(user.city)"},
            "rename": {"user.mail": "mail"},
            "keep": ["id", "mail", "user.city"],
        },
        {"mappings": [{"source": "email", "destination": "user.email", "transform": "lowercase"}]},
    ],
)
class Mapping(RowProcessor[MappingConfig]):
    """Sets, renames, drops and keeps columns, and fields inside of structs.

    A column that is set keeps its place, a new one goes to the end. All expressions of a node read its input: to read
    a column that a mapping makes, put a node behind it. Columns that carry changes (`_op` ...) always stay, but for
    `_before`, the former row, where columns are set.

    Paths with dots reach into structs: `set` makes the structs that are not there, `rename` moves a field in, out or
    about, `drop` and `keep` pick fields. A struct that is null stays null, unless a field is set in it. Lists are not
    looked into: see `explode`.
    """

    def step(self, inputs: Sequence[Schema]) -> Step:
        """Return the select list."""
        schema, config, trying = inputs[0], self.config, _Trying()
        fields = Fields(schema)
        for name in (*config.set, *(m.destination for m in config.mappings), *config.rename, *config.rename.values()):
            with trying:
                self._refuse_reserved(name, schema)
        with trying:
            fields.put(self._older(schema), "mappings")
        with trying:
            fields.put(((name, Value(text)) for name, text in config.set.items()), "set")
        self._shape(fields, trying)
        if BEFORE in schema:
            self._shape_before(fields, schema[BEFORE])
        made = tuple(fields.columns().items())
        return Step(self.context.node, made, nulls=self.context.on_error == "null", problems=tuple(trying.problems))

    @staticmethod
    def _refuse_reserved(name: str, schema: Schema) -> None:
        if name in RESERVED and name in schema:
            what = f"{name!r} carries changes: it cannot be set or renamed"
            raise WorkflowError(what, hint="copy it: set: {operation: _op}", place=Place(path=name))

    def _shape(self, fields: Fields, trying: _Trying) -> None:
        """Rename, drop and keep."""
        with trying:
            fields.rename(self.config.rename)
        for pattern in self.config.drop:
            with trying:
                for name in _matched(pattern, fields.names, "drop"):
                    if name not in RESERVED:
                        fields.drop(name)
        kept: list[str] = []
        for pattern in self.config.keep:
            with trying:
                found = list(_matched(pattern, fields.names, "keep"))
                for name in found:
                    fields.find(name, "keep")
                kept += found
        if kept:
            fields.keep([*kept, *(n for n in fields.names if n in RESERVED)])

    def _shape_before(self, fields: Fields, before: Column) -> None:
        """Give the former row the columns of the new one; where columns are set nobody has it in that shape."""
        if self.config.set or self.config.mappings:
            fields.drop(BEFORE)
        elif self.config.rename or self.config.drop or self.config.keep:
            former = Fields.within(before)
            self._shape(former, _Trying())  # what is wrong is told of the row itself
            fields.put([(BEFORE, Value(former.packed()))], "before")

    def _older(self, schema: Schema) -> Iterator[tuple[str, Value]]:
        for mapping in self.config.mappings:
            yield mapping.destination, Value(mapping.sql(_path(mapping.source, schema)))


class _Trying:
    """Notes what is wrong with one setting, so that the others are looked at as well."""

    def __init__(self) -> None:
        self.problems: list[WorkflowError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, WorkflowError):
            self.problems.append(error)
        return isinstance(error, WorkflowError)


def _matched(pattern: str, columns: Sequence[str], setting: str) -> Iterator[str]:
    """Yield the columns that a pattern means; one without signs is a name."""
    if pattern in columns or not any(sign in pattern for sign in "*?["):
        yield pattern
        return
    found = [c for c in columns if fnmatchcase(c, pattern) and c not in RESERVED]
    if not found:
        what = f"{setting}: no column is {pattern!r}"
        raise WorkflowError(what, hint=f"known: {', '.join(columns)}", place=Place(path=pattern))
    yield from found


def _path(source: str, schema: Schema) -> str:
    if source in schema:
        return quoted(source)
    first, *rest = source.split(".")
    known([first], schema.names, "mappings")
    return ".".join(quoted(p) for p in (first, *rest))


__all__ = ["TRANSFORMS", "FieldMapping", "Mapping", "MappingConfig"]
