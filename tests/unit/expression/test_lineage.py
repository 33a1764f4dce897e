"""Tags follow values through expressions, field by field, and no way of writing an expression loses them."""

from __future__ import annotations

import pytest

from dataflare.expression.aggregate import AggregatePlan
from dataflare.expression.step import Step
from dataflare.expression.typed import typed
from dataflare.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("id", "int64", nullable=False),
        Column("name", "string"),
        Column("mail", "string", tags=("pii",)),
        Column("user", "struct<Mail: string, name: string, home: struct<zip: string, city: string>>").marked(
            [(("Mail",), "pii"), (("home", "zip"), "zip")]
        ),
        Column("items", "list<struct<mail: string, n: int64>>").marked([(("mail",), "pii")]),
        Column("payload", "json", tags=("pii",)),
        Column("extra", "map<string, string>", tags=("pii",)),
    )
)


def made(text: str) -> Column:
    (after,), problems = typed([Step("n", (("x", text),))], SCHEMA)
    assert problems == []
    return after["x"]


@pytest.mark.parametrize(
    "text",
    [
        "mail",
        "upper(mail)",
        "mail || name",
        "concat(name, mail)",
        "mail.upper()",
        "length(mail)",
        "mail = 'a@x.org'",
        "mail is null",
        "cast(mail as binary)",
        "try_cast(mail as int)",
        "try(cast(mail as int))",
        "case when mail = 'a' then 1 else 2 end",
        "case when id > 1 then mail else name end",
        "coalesce(name, mail)",
        "regexp_extract(mail, '@(.*)', 1)",
        "regexp_replace(name, 'x', mail)",
        "md5(mail)",
        "sha256(mail)",
        "mail[1]",
        "mail[1:3]",
        "[mail]",
        "[x for x in [mail]]",
        "list_transform([1], lambda x: mail)",
        "list_transform(items, lambda x: x.mail)",
        "items[1].mail",
        "items[1]['mail']",
        "map([1], [mail])",
        "extra['k']",
        "map_keys(extra)",
        "payload->>'$.a'",
        "json_extract_string(payload, '$.name')",
        "json_object('a', mail)",
        "to_json(user)",
        "cast(user as varchar)",
        "user.mail",
        "USER.MAIL",
        "(user).mail",
        "user['mail']",
        "struct_extract(user, 'mail')",
        "struct_extract(user, 'name')",
        "struct_values(user)",
        "struct_insert(user, x := 1)",
        "user.mail.upper()",
        "row(mail, 1)",
        "format('{}', mail)",
        "printf('%s', mail)",
        "id + strlen(mail)",
        "nullif(mail, 'x')",
        "mail in ('a', 'b')",
        "name in (mail)",
        "mail between 'a' and 'b'",
        "mail like 'a%'",
        "mail ~ 'a'",
        "hash(mail)",
        "greatest(name, mail)",
        "string_split(mail, '@')",
        "list_aggregate([mail], 'min')",
        "if(mail = 'x', 1, 2)",
        "ifnull(name, mail)",
        "mail collate nocase",
        "{'a': {'b': upper(mail)}}",
        "strftime(cast(mail as date), '%Y')",
        "bar(strlen(mail), 0, 10)",
        "case when mail is not null then {'a': 1} end",
        "case when mail is not null then {'a': user.name} end",
        "case when user is not null then {'a': mail} end",
        "case when user.mail = 'a' then {'a': user.name} end",
    ],
)
def test_whatever_is_made_of_a_tagged_value_is_tagged(text: str) -> None:
    assert "pii" in made(text).tags


@pytest.mark.parametrize(
    "text",
    ["id", "name", "'mail'", "user.name", "user.home.city", "user['name']", "items[1].n", "(user).home.city", "now()"],
)
def test_what_reads_no_tagged_value_is_not(text: str) -> None:
    assert made(text).tags == ()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("user", ((("Mail",), "pii"), (("home", "zip"), "zip"))),
        ("user.home", ((("zip",), "zip"),)),
        ("(user).home", ((("zip",), "zip"),)),
        ("items", ((("mail",), "pii"),)),
        ("items[1]", ((("mail",), "pii"),)),
        ("{'a': user.name, 'b': user.mail}", ((("b",), "pii"),)),
        ("struct_pack(a := {'x': lower(mail)}, b := user.home)", ((("a", "x"), "pii"), (("b", "zip"), "zip"))),
        ("case when user is not null then {'m': user.mail, 'n': user.name} end", ((("m",), "pii"),)),
        ("struct_pack(u := user)", ((("u", "Mail"), "pii"), (("u", "home", "zip"), "zip"))),
    ],
)
def test_a_tag_stays_at_its_field(text: str, places: tuple[object, ...]) -> None:
    assert made(text).places == places


def test_tags_of_groups_and_results_follow_what_they_are_made_of() -> None:
    keys = [("key", "lower(mail)"), ("home", "user.home"), ("plain", "name")]
    results = {
        "rows": "count(*)",
        "known": "count(mail)",
        "different": "count(distinct mail)",
        "least": "min(mail)",
        "all": "list(mail)",
        "some": "any_value(user.name)",
        "chosen": "case when count(*) > 1 then max(mail) else 'x' end",
        "filtered": "max(id) filter (where mail = 'x')",
        "ordered": "list(id order by mail)",
        "city": "max(user.home.city)",
    }
    plan = AggregatePlan(keys, list(results.items()), SCHEMA)
    tagged = {c.name for c in plan.output if "pii" in c.tags}
    assert tagged == {"key", "least", "all", "chosen", "filtered", "ordered"}
    assert plan.output["home"].places == ((("zip",), "zip"),)
    plan.close()


@pytest.mark.parametrize(
    ("text", "nullable"),
    [
        ("id", False),
        ("id + 1", False),
        ("name", True),
        ("coalesce(name, '')", False),
        ("coalesce(name, mail)", True),
        ("name is null", False),
        ("name = 'x'", True),
        ("id > 1 and id < 7", False),
        ("case when name = 'x' then id end", True),
        ("case when name = 'x' then id else 0 end", False),
        ("cast(id as varchar)", False),
        ("try_cast(id as tinyint)", True),
        ("id // 0", True),
        ("id % 2", True),
        ("{'a': name}", False),
        ("now()", False),
        ("current_date", False),
        ("user.name", True),
        ("nullif(id, 1)", True),
    ],
)
def test_nullability_is_planned(text: str, nullable: bool) -> None:
    assert made(text).nullable is nullable


def test_where_failures_become_null_everything_computed_may_be() -> None:
    (after,), _ = typed([Step("n", (("a", "id"), ("b", "id + 1")), nulls=True)], SCHEMA)
    assert [c.nullable for c in after] == [False, True]


def test_rows_that_come_by_several_inputs_have_the_tags_of_all() -> None:
    one = Schema((Column("a", "string", nullable=False), Column("u", "struct<x: string>")))
    two = Schema((Column("a", "string", tags=("t",)), Column("u", "struct<x: string>").marked([(("x",), "p")])))
    assert one.beside([one, two]) == Schema((two["a"], two["u"]))
    assert one.beside([one]) == one
    assert not one.beside([Schema((*two, Column("b", "int64")))])["a"].nullable
