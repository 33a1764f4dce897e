"""Checks values against a settings class and says each mistake at its place in the file."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError, create_model

from dataflare.errors import DataFlareError, WorkflowError
from dataflare.workflow.document import Document, Path, Value, dotted
from dataflare.workflow.findings import near, nearest
from dataflare.workflow.references import has_secret

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from dataflare.workflow.findings import Findings

M = TypeVar("M", bound=BaseModel)

_PLAINLY = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "mapping_type": "must be a map",
}
_ONE_OF = ("literal_error", "enum", "union_tag_invalid")
_ALIKE = 0.7
"""By what share a key must be like the one that it is taken for: `imput` is like `inputs`, `steps` not like `tests`."""
_ONE_OF_WORDS = re.compile(r"'([^']*)'")


class Checker:
    """Checks parts of one document. Values themselves are never in a message: they may come from the environment."""

    def __init__(self, document: Document, findings: Findings) -> None:
        """Report places of `document` to `findings`."""
        self._document, self._findings = document, findings

    def salvage(self, model: type[M], value: Any, path: Path, others: Mapping[str, str] | None = None) -> M | None:
        """Return the model, leaving out the entries that are wrong; None where what is left is not enough."""
        checked, wrong = self.check(model, value, path, others)
        if checked is not None or not isinstance(value, dict):
            return checked
        return _rest(model, value, wrong)

    def check(
        self, model: type[M], value: Any, path: Path, others: Mapping[str, str] | None = None
    ) -> tuple[M | None, set[str]]:
        """Return the model, or None and the keys that are wrong; each mistake becomes a finding.

        `others` are keys that belong elsewhere, with the hint that says where. A setting that refers to a secret is
        checked when the secret is known: its mistakes are left out here.
        """
        try:
            checked = model.model_validate(value)
        except DataFlareError as error:  # a validator's own words
            code = "invalid_value" if error.code == WorkflowError.code else error.code.removeprefix("workflow.")
            self._findings.error(code, error.what, self._document.place(path, key=True), error.hint)
            return None, {""}
        except ValidationError as error:
            details = [*error.errors(include_url=False), *_hidden_errors(model, value, error)]
            words = self._respelled(model, path, _strange(details, others or {}))
            details = _without_meant(model, details)
            if words:  # what is said of the whole may follow from them
                details = [d for d in details if d["loc"] and d["loc"][0] not in words]
            wrong = self._tell(model, details, path, others or {})
            if words:
                found, more = self.check(model, {words.get(k, k): v for k, v in value.items()}, path, others)
                return found, wrong | more
            self._ambiguous(_rest(model, value, wrong), value, wrong, path)
            return None, wrong
        self._ambiguous(checked, value, set(), path)
        return checked, set()

    def _tell(self, model: type[BaseModel], details: Sequence[Any], path: Path, others: Mapping[str, str]) -> set[str]:
        """Report what pydantic found; return the keys that are wrong."""
        wrong: set[str] = set()
        seen: set[tuple[Path, str]] = set()
        for detail in details:
            where = self._deepest(path, detail["loc"])
            if detail["type"] not in ("extra_forbidden", "missing") and self._waits(where):
                continue
            wrong.add(str(detail["loc"][0]) if detail["loc"] else "")
            if (where, detail["type"]) not in seen:
                seen.add((where, detail["type"]))
                self._report(model, detail, where, others)
        return wrong

    def respell(self, model: type[BaseModel], path: Path, others: Container[str] = ()) -> bool:
        """Report misspelled keys of a map, and take them for those that they mean; tell whether there were any.

        So they do not come again as keys that are missing, nor do things that follow from that. `others` are right.
        """
        value, names = self._document.at(path), _names([model])
        strange = [k for k in value.map if k not in names and k not in others] if value is not None else []
        return bool(self._respelled(model, path, strange))

    def _respelled(self, model: type[BaseModel], path: Path, strange: Sequence[str]) -> dict[str, str]:
        """Put the keys that are meant in the place of strange ones, where they are not there; return them by those."""
        value = self._document.at(path)
        if value is None or not strange:
            return {}
        free = [name for name in _names([model]) if name not in value.map]
        words: dict[str, str] = {}
        for key in strange:
            meant = nearest(key, free, _ALIKE) if key in value.map else None
            if meant is not None:
                place, hint = self._document.place((*path, key), key=True), near(key, free)
                self._findings.error("unknown_key", f"unknown key {key!r}", place, hint)
                words[key] = meant
                free.remove(meant)
        if words:
            value.data = {words.get(k, k): v for k, v in value.map.items()}
        return words

    def ambiguous(self, path: Path) -> None:
        """Report every unquoted on, off, yes and no below a path where text or a truth value may be meant."""
        value = self._document.at(path)
        for at, item in value.walk(path) if value is not None else ():
            if item.ambiguous:
                self._report_ambiguous(at, item)

    def _report_ambiguous(self, path: Path, value: Value) -> None:
        self._findings.error(
            "ambiguous_text",
            f"unquoted {value.text} reads as true or false to some YAML readers",
            self._document.place(path),
            f'write "{value.text}" in double quotes, or true or false',
        )

    def _ambiguous(self, checked: BaseModel | None, plain: Any, wrong: set[str], path: Path) -> None:
        """Report what a model did not take for a truth value, in those entries of it that were not told of already."""
        value = self._document.at(path)
        if checked is None or value is None:
            return
        opaque = {n for n, f in type(checked).model_fields.items() if f.annotation == dict[str, Any]}
        for key in plain.keys() - opaque - wrong:  # who knows what an opaque entry means checks it
            entry = value.child(key)
            for at, item in entry.walk((key,)) if entry is not None else ():
                if item.ambiguous and not isinstance(_taken(checked, at), bool):
                    self._report_ambiguous((*path, *at), item)

    def _waits(self, where: Path) -> bool:
        value = self._document.at(where)
        return value is not None and (value.unknown or has_secret(value.data))

    def _deepest(self, path: Path, loc: Sequence[str | int]) -> Path:
        """Return the path of an error in the document: steps that only pydantic knows (union members) are left out."""
        value, found = self._document.at(path), list(path)
        for step in loc:
            child = value.child(step) if value is not None else None
            if child is not None:
                value = child
                found.append(step)
        return tuple(found)

    def _report(self, model: type[BaseModel], detail: Any, where: Path, others: Mapping[str, str]) -> None:
        kind, loc = detail["type"], detail["loc"]
        if kind == "extra_forbidden":
            key = str(loc[-1])
            hint = others.get(key, "") if len(loc) == 1 else ""
            hint = hint or near(key, _names(_models_at(model, loc[:-1])))
            self._findings.error("unknown_key", f"unknown key {key!r}", self._document.place(where, key=True), hint)
        elif kind == "missing":
            name = dotted((str(loc[-1]),))
            place = self._document.place(where, key=True)
            self._findings.error("missing_key", f"{name!r} is missing", place, _purpose(model, loc))
        elif kind in _ONE_OF:
            self._report_choice(detail, where)
        else:
            self._report_value(detail, where)

    def _report_choice(self, detail: Any, where: Path) -> None:
        choices = _ONE_OF_WORDS.findall(str((detail.get("ctx") or {}).get("expected", "")))
        value = self._document.at(where)
        word = str(value.data) if value is not None and not value.hidden and not value.map and not value.list else ""
        message = f"{word!r} is not one of {', '.join(choices)}" if word else f"must be one of {', '.join(choices)}"
        hint = near(word, choices)
        self._findings.error("not_one_of", message, self._document.place(where), hint if "mean" in hint else "")

    def _report_value(self, detail: Any, where: Path) -> None:
        value = self._document.at(where)
        message = _PLAINLY.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
        if value is not None and value.hidden:
            message = _PLAINLY.get(detail["type"]) or f"is not valid ({detail['type']})"
        hint = ""
        if detail["type"] == "string_type" and value is not None and value.text:
            hint = f'write "{value.text}" in double quotes'
        elif detail["type"] == "string_pattern_mismatch":
            message, hint = "is not a name", "use letters, digits, _ and -, with a letter first"
        name = dotted(where[-1:]) if where and isinstance(where[-1], str) else dotted(where[-2:])
        if detail["type"] in _PLAINLY or not message[:1].isupper():
            message = f"{name}: {message}"
        else:
            message = f"{name}: {message[0].lower()}{message[1:]}"
        code = "ambiguous_text" if value is not None and value.ambiguous else "invalid_value"
        self._findings.error(code, message, self._document.place(where), hint)


def _hidden_errors(model: type[BaseModel], value: Any, error: ValidationError) -> list[Any]:
    """Return what is wrong with single entries where a validator of the whole model kept pydantic from looking.

    Unknown keys are among them only where a known one is near: the validator may have given others a meaning.
    """
    if not isinstance(value, dict) or any(e["loc"] or e["type"] != "value_error" for e in error.errors()):
        return []
    try:
        _without_validators(model).model_validate(value)
    except ValidationError as inner:
        known = _names([model])
        found = [e for e in inner.errors(include_url=False) if e["type"] != "missing"]
        return [e for e in found if e["type"] != "extra_forbidden" or "mean" in near(str(e["loc"][-1]), known)]
    return []


@cache
def _without_validators(model: type[BaseModel]) -> type[BaseModel]:
    """Return a model of the same fields that checks each by its annotation alone."""
    fields: dict[str, Any] = {n: (f.annotation, f) for n, f in model.model_fields.items()}
    return create_model(f"{model.__name__}Fields", __config__=model.model_config, **fields)


def _strange(details: Sequence[Any], others: Container[str]) -> list[str]:
    """Return the keys of the model itself that it does not know, but for those that belong elsewhere."""
    found = [str(d["loc"][0]) for d in details if d["type"] == "extra_forbidden" and len(d["loc"]) == 1]
    return [key for key in found if key not in others]


def _without_meant(model: type[BaseModel], details: Sequence[Any]) -> list[Any]:
    """Leave out what is missing where a key that is not known means it."""
    unknown = [d["loc"] for d in details if d["type"] == "extra_forbidden"]
    meant = {(*loc[:-1], nearest(str(loc[-1]), _names(_models_at(model, loc[:-1])), _ALIKE)) for loc in unknown}
    return [d for d in details if d["type"] != "missing" or tuple(d["loc"]) not in meant]


def _rest(model: type[M], value: Any, wrong: set[str]) -> M | None:
    """Return the model of the entries that are not wrong, where they are enough."""
    if not isinstance(value, dict):
        return None
    try:
        return model.model_validate({k: v for k, v in value.items() if k not in wrong})
    except (ValidationError, DataFlareError):
        return None


def _taken(checked: Any, path: Path) -> Any:
    """Return what a checked model made of the value at a path; None where it cannot be followed."""
    for step in path:
        if isinstance(checked, BaseModel):
            fields = type(checked).model_fields
            name = next((n for n, f in fields.items() if step in (n, f.alias, *_choices(f.validation_alias))), None)
            checked = getattr(checked, name) if name else None
        elif isinstance(checked, dict):
            checked = checked.get(step)
        elif isinstance(checked, list | tuple) and isinstance(step, int) and step < len(checked):
            checked = checked[step]
        else:
            return None
    return checked


def _choices(alias: Any) -> Sequence[Any]:
    return alias.choices if isinstance(alias, AliasChoices) else (alias,)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation mentions, through unions, lists and maps."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _models_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[type[BaseModel]]:
    models = [model]
    for step in loc:
        fields = [(n, f) for m in models for n, f in m.model_fields.items()]
        inside = [f.annotation for n, f in fields if step in (n, f.alias, *_choices(f.validation_alias))]
        models = [m for a in inside for m in _models(a)] or models
    return models


def _names(models: list[type[BaseModel]]) -> list[str]:
    return [f.alias if isinstance(f.alias, str) else n for m in models for n, f in m.model_fields.items()]


def _purpose(model: type[BaseModel], loc: Sequence[str | int]) -> str:
    for owner in _models_at(model, loc[:-1]):
        for name, field in owner.model_fields.items():
            if loc[-1] in (name, field.alias, *_choices(field.validation_alias)) and field.description:
                return field.description
    return ""
