"""Settings are compared with the schema of a manifest: all that is wrong is told, with where it is."""

from __future__ import annotations

import pytest

from dataflare.plugin.settings_schema import misfits

SCHEMA = {
    "type": "object",
    "required": ["rate"],
    "additionalProperties": False,
    "properties": {
        "rate": {"type": "number", "minimum": 0, "exclusiveMaximum": 10},
        "mode": {"enum": ["a", "b", 1]},
        "fixed": {"const": True},
        "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 3},
        "count": {"type": "integer", "maximum": 5, "exclusiveMinimum": 0},
        "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
        "inner": {"properties": {"x": {"type": "object"}}, "additionalProperties": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"rate": 0}, []),
        ({"rate": 9.5, "mode": 1, "fixed": True, "name": None, "count": 2.0, "list": [True], "inner": {"y": ""}}, []),
        ({}, ["settings.rate is missing"]),
        ({"rate": True}, ["settings.rate must be a number"]),
        ({"rate": "1"}, ["settings.rate must be a number"]),
        ({"rate": -1}, ["settings.rate must be at least 0"]),
        ({"rate": 10}, ["settings.rate must be less than 10"]),
        ({"rate": 1, "mode": True}, ['settings.mode must be one of "a", "b", 1']),
        ({"rate": 1, "fixed": 1}, ["settings.fixed must be true"]),
        ({"rate": 1, "name": 1}, ["settings.name must be text or nothing"]),
        ({"rate": 1, "name": ""}, ["settings.name must have at least 1 characters"]),
        ({"rate": 1, "name": "abcd"}, ["settings.name must have at most 3 characters"]),
        ({"rate": 1, "count": 2.5}, ["settings.count must be a whole number"]),
        ({"rate": 1, "count": 0}, ["settings.count must be more than 0"]),
        ({"rate": 1, "count": 6}, ["settings.count must be at most 5"]),
        ({"rate": 1, "list": {}}, ["settings.list must be a list"]),
        ({"rate": 1, "list": []}, ["settings.list must have at least 1 entries"]),
        ({"rate": 1, "list": [1, True, 2]}, [
            "settings.list must have at most 2 entries",
            "settings.list.0 must be true or false",
            "settings.list.2 must be true or false",
        ]),
        ({"rate": 1, "inner": {"x": 1, "y": 2}}, ["settings.inner.x must be a map", "settings.inner.y must be text"]),
        ({"rat": 1}, ["settings.rate is missing", "settings.rat is unknown, did you mean 'rate'?"]),
        ({"rate": 1, "zzz": 1}, [f"settings.zzz is unknown, known: {', '.join(SCHEMA['properties'])}"]),
        ([], ["settings must be a map"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_told(settings, wrong):
    assert list(misfits(SCHEMA, settings)) == wrong


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "nothing that is known"},
        {"type": 1, "required": 1, "properties": 1, "enum": 1, "minimum": "x", "minLength": "x"},
        {"pattern": "(a+)+$", "properties": {"a": {"pattern": "("}}},
        {"properties": {"a": 1}, "additionalProperties": 1},
    ],
)
def test_a_schema_of_another_form_fits_all(schema):
    assert list(misfits(schema, {"a": "aaaa"})) == []
