"""How a stream goes on when its source has other columns than it had."""

from __future__ import annotations

import pytest

from dataflare.changes import changing
from dataflare.component import Stream
from dataflare.component.evolution import Evolved, Policy, Verdict, data_columns, evolve, remembered
from dataflare.component.known import KnownColumn
from dataflare.plan_words import Change, Ddl, EdgeKind
from dataflare.schema import Schema

POLICIES = ("exception", "evolve", "try_evolve", "lenient", "ignore")


def stream(columns: str, *, unchanged: bool = True) -> Stream:
    """Return a stream of `name:type@mark; ...`, whose key is `id`."""
    parts = [c.strip().partition("@") for c in columns.split(";")]
    types = [(name, kind) for name, _, kind in (p[0].partition(":") for p in parts)]
    marks = {name: p[2] for (name, _), p in zip(types, parts, strict=True)}
    return Stream(changing(Schema.of(types), ("id",), unchanged=unchanged), EdgeKind.UPSERT, ("id",), marks=marks)


def after(before: str, now: str, **contract: object) -> Evolved:
    return evolve(remembered(stream(before)), stream(now), Policy.of(contract))


def shown(found: Evolved) -> str:
    return "; ".join(f"{c.name}:{c.type}" for c in data_columns(found.schema))


BEFORE = "id:int64@1; a:int32@2; b:string@3"
NOW = {
    Change.ADD: "id:int64@1; a:int32@2; b:string@3; c:date@4",
    Change.DROP: "id:int64@1; b:string@3",
    Change.RENAME: "id:int64@1; z:int32@2; b:string@3",
    Change.RETYPE: "id:int64@1; a:int64@2; b:string@3",
}
SAME = "id:int64; a:int32; b:string"
WANTED = {
    (Change.ADD, "evolve"): "id:int64; a:int32; b:string; c:date",
    (Change.ADD, "lenient"): "id:int64; a:int32; b:string; c:date",
    (Change.ADD, "ignore"): SAME,
    (Change.DROP, "evolve"): "id:int64; b:string",
    (Change.DROP, "lenient"): "id:int64; b:string; a:int32",
    (Change.DROP, "ignore"): "id:int64; b:string; a:int32",
    (Change.RENAME, "evolve"): "id:int64; z:int32; b:string",
    (Change.RENAME, "lenient"): "id:int64; z:int32; b:string; a:int32",
    (Change.RENAME, "ignore"): None,
    (Change.RETYPE, "evolve"): "id:int64; a:int64; b:string",
    (Change.RETYPE, "lenient"): "id:int64; a:int64; b:string",
    (Change.RETYPE, "ignore"): SAME,
}


@pytest.mark.parametrize("kind", Change)
@pytest.mark.parametrize("ddl", POLICIES)
def test_a_policy_says_what_becomes_of_each_change(kind: Change, ddl: str) -> None:
    found = after(BEFORE, NOW[kind], ddl=ddl)

    assert [c.kind for c in found.changes] == [kind]
    wanted = WANTED.get((kind, ddl.removeprefix("try_")))
    error = found.refused("shop.orders")
    if wanted is None:
        assert error is not None
        assert "shop.orders: column " in error.what
        assert f"ddl: {'evolve' if kind is Change.RENAME else 'lenient'}" in error.hint
    else:
        assert error is None
        assert shown(found) == wanted


@pytest.mark.parametrize("kind", Change)
def test_what_was_followed_is_no_change_any_more(kind: Change) -> None:
    for ddl in ("evolve", "lenient"):
        once = after(BEFORE, NOW[kind], ddl=ddl)
        again = evolve(once.known, stream(NOW[kind]), Policy(ddl=Ddl(ddl)))
        assert again.changes == []
        assert (again.known, again.schema) == (once.known, once.schema)


def test_destinations_are_told_what_is_gone_and_renamed_where_it_shall_reach_them() -> None:
    assert after(BEFORE, NOW[Change.DROP], ddl="evolve").dropped == ["a"]
    assert after(BEFORE, NOW[Change.RENAME], ddl="evolve").renamed == {"a": "z"}
    for ddl in ("lenient", "ignore"):
        assert after(BEFORE, NOW[Change.DROP], ddl=ddl).dropped == []
    assert after(BEFORE, NOW[Change.RENAME], ddl="lenient").renamed == {}


def test_a_renamed_column_remembers_the_names_that_it_had() -> None:
    once = after(BEFORE, NOW[Change.RENAME], ddl="evolve")
    twice = evolve(once.known, stream("id:int64@1; y:int32@2; b:string@3"), Policy(ddl=Ddl.EVOLVE))
    assert twice.known[1] == KnownColumn("y", "int32", "2", former=("a", "z"))
    assert twice.renamed == {"z": "y"}


def test_a_column_of_the_key_gets_another_name_where_all_follow_or_not_at_all() -> None:
    def now(ddl: str) -> Evolved:
        renamed = Stream(changing(Schema.of({"key": "int64"}), ("key",)), EdgeKind.UPSERT, ("key",), marks={"key": "1"})
        return evolve(remembered(stream("id:int64@1")), renamed, Policy(ddl=Ddl(ddl)))

    assert now("evolve").refused("t") is None
    assert now("evolve").renamed == {"id": "key"}
    assert now("lenient").refused("t") is not None


def test_a_new_column_may_have_the_name_that_another_one_had() -> None:
    found = after(BEFORE, "id:int64@1; x:int32@2; b:string@3; a:string@4", ddl="evolve")
    assert [(c.kind, c.name) for c in found.changes] == [(Change.RENAME, "x"), (Change.ADD, "a")]
    assert found.renamed == {"a": "x"}
    assert shown(found) == "id:int64; x:int32; b:string; a:string"


def test_a_column_that_comes_back_is_new() -> None:
    gone = after(BEFORE, NOW[Change.DROP], ddl="lenient")
    back = evolve(gone.known, stream("id:int64@1; b:string@3; a:string@9"), Policy())
    assert [(c.kind, c.name) for c in back.changes] == [(Change.ADD, "a")]
    assert shown(back) == "id:int64; b:string; a:string"


@pytest.mark.parametrize(
    ("was", "now", "lenient", "follows"),
    [
        ("int32", "int64", "int64", "int64"),
        ("int64", "int32", "int64", "int64"),
        ("float32", "float64", "float64", "float64"),
        ("decimal(9,2)", "decimal(12,4)", "decimal(12,4)", "decimal(12,4)"),
        ("decimal(9,4)", "decimal(9,2)", "decimal(11,4)", "decimal(11,4)"),
        ("int32", "decimal(12,2)", "decimal(12,2)", "decimal(12,2)"),
        ("int64", "string", "int64", "string"),
        ("string", "int64", "string", "int64"),
        ("date", "timestamp", "date", "timestamp"),
    ],
)
def test_types_become_wider_only_unless_all_is_followed(was: str, now: str, lenient: str, follows: str) -> None:
    for ddl, wanted in (("lenient", lenient), ("evolve", follows)):
        assert after(f"id:int64; a:{was}", f"id:int64; a:{now}", ddl=ddl).schema["a"].type == wanted


@pytest.mark.parametrize(
    ("contract", "kind", "verdict"),
    [
        ({"columns": "freeze"}, Change.ADD, Verdict.REFUSE),
        ({"columns": "freeze"}, Change.DROP, Verdict.REFUSE),
        ({"columns": "freeze"}, Change.RETYPE, Verdict.TAKE),
        ({"columns": "discard"}, Change.ADD, Verdict.LEAVE),
        ({"data_type": "freeze"}, Change.RETYPE, Verdict.REFUSE),
        ({"data_type": "discard_row"}, Change.RETYPE, Verdict.LEAVE),
        ({"data_type": "freeze"}, Change.ADD, Verdict.TAKE),
        ({"columns": "freeze", "leave": ["add.column"]}, Change.ADD, Verdict.LEAVE),
        ({"ddl": "exception", "leave": ["drop.column"]}, Change.DROP, Verdict.LEAVE),
        ({"ddl": "ignore", "columns": "freeze"}, Change.ADD, Verdict.REFUSE),
    ],
)
def test_words_of_the_contract_count_beside_the_policy(
    contract: dict[str, object], kind: Change, verdict: Verdict
) -> None:
    assert Policy.of(contract).verdict(kind) is verdict


def test_streams_keep_what_their_changes_tell() -> None:
    for unchanged in (True, False):
        now = stream(NOW[Change.ADD], unchanged=unchanged)
        found = evolve(remembered(stream(BEFORE, unchanged=unchanged)), now, Policy())
        assert found.schema == now.schema
        assert (found.schema["c"].nullable, found.schema["id"].nullable) == (True, False)


def test_what_is_remembered_travels_as_json() -> None:
    known = (KnownColumn("a", "int32", "7", held=True, former=("b",)), KnownColumn("c", "string"))
    assert tuple(KnownColumn.from_json(c.to_json()) for c in known) == known


@pytest.mark.parametrize(
    ("was", "now", "wide"),
    [
        ("uint32", "uint64", "uint64"),
        ("uint64", "uint8", "uint64"),
        ("int32", "uint32", "int64"),
        ("uint8", "int16", "int16"),
        ("int64", "uint64", "decimal(20,0)"),
        ("uint16", "decimal(6,2)", "decimal(7,2)"),
        ("uint64", "float32", "float64"),
        ("uint64", "string", "uint64"),
    ],
)
def test_whole_numbers_without_a_sign_become_wide_enough_for_both(was: str, now: str, wide: str) -> None:
    found = after(f"id:int64@1; a:{was}@2", f"id:int64@1; a:{now}@2")
    assert shown(found) == f"id:int64; a:{wide}"
