"""The mask processor: which rule is for which values, what is left to see, and what becomes of rows it cannot mask."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.errors import DataError, InvalidWorkflowError
from dataflare.processors.mask import Mask, MaskConfig
from dataflare.schema import Column, Schema

KEY = "0123456789abcdef"
SCHEMA = Schema(
    (
        Column("id", "int64"),
        Column("email", "string", nullable=False).marked([((), "pii.email")]),
        Column("user", "struct<name: string, zip: string, born: date>").marked(
            [(("name",), "pii.name"), (("zip",), "pii.zip")]
        ),
        Column("items", "list<struct<mail: string, n: int64>>").marked([(("mail",), "pii.email")]),
        Column("note", "string"),
    )
)
ROWS = [
    {
        "id": 1,
        "email": "ann@x.org",
        "user": {"name": "Ann", "zip": "10115", "born": dt.date(2000, 1, 2)},
        "items": [{"mail": "bob@x.org", "n": 1}, {"mail": None, "n": 2}],
        "note": "hi",
    },
    {"id": 2, "email": "eve@x.org", "user": None, "items": None, "note": None},
]


class Runtime:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def emit(self, event: Any) -> None:
        self.events.append(event)


def node(schema: Schema = SCHEMA, on_error: str = "fail", **config: Any) -> Mask:
    mask = Mask(MaskConfig(**config))
    mask.context = StageContext(Runtime(), "w", "n", schemas={"0": schema}, on_error=on_error)  # type: ignore[arg-type]
    return mask


def run(mask: Mask, rows: list[dict[str, Any]] = ROWS) -> list[Batch]:
    mask.open()
    schema = mask.context.schemas["0"].to_arrow()
    found = list(mask.process(Batch.of(rows, schema=schema, position={"row": 7})))
    assert all(b.position == {"row": 7} for b in found)
    return found


def told(schema: Schema = SCHEMA, **config: Any) -> list[str]:
    with pytest.raises(InvalidWorkflowError) as raised:
        node(schema, **config).outputs([schema])
    assert all(f.hint for f in raised.value.findings)
    return [f.message for f in raised.value.findings]


def test_rules_by_tag_find_columns_fields_and_items_and_take_the_tags_away() -> None:
    rules = {"pii.email": {"method": "partial", "first": 1, "keep_domain": True}, "pii": {"method": "redact"}}
    mask = node(rules=rules)
    after = mask.outputs([SCHEMA])[""]
    assert [c.tags for c in after] == [()] * 5
    (batch,) = run(mask)
    assert batch.rows.schema == after.to_arrow()
    assert batch.rows.to_pylist() == [
        ROWS[0]
        | {
            "email": "a**@x.org",
            "user": {"name": "***", "zip": "***", "born": dt.date(2000, 1, 2)},
            "items": [{"mail": "b**@x.org", "n": 1}, {"mail": None, "n": 2}],
        },
        ROWS[1] | {"email": "e**@x.org"},
    ]


def test_a_tag_without_a_rule_stays() -> None:
    after = node(rules={"pii.email": {"method": "hash"}}).outputs([SCHEMA])[""]
    assert after["user"] == SCHEMA["user"]
    assert [c.tags for c in after if c.name != "user"] == [()] * 4


def test_a_rule_by_column_comes_before_one_by_tag_and_may_change_the_type() -> None:
    mask = node(
        rules={"pii": {"method": "redact"}},
        columns={
            "id": {"method": "hash"},
            "user.zip": {"method": "generalise", "first": 2},
            "user.born": {"method": "null"},
        },
    )
    after = mask.outputs([SCHEMA])[""]
    assert after["id"].type == "string"
    assert not any(c.tags for c in after)
    row = run(mask)[0].rows.to_pylist()[0]
    assert row["user"] == {"name": "***", "zip": "10", "born": None}
    assert len(row["id"]) == 64


def test_null_makes_a_column_nullable() -> None:
    assert node(columns={"email": {"method": "null"}}).outputs([SCHEMA])[""]["email"].nullable


def test_images_of_rows_before_a_change_are_masked_alike() -> None:
    before = "struct<id: int64, email: string>"
    schema = Schema((*SCHEMA, Column("_before", before).marked([(("email",), "pii.email")])))
    row = ROWS[0] | {"_before": {"id": 1, "email": "old@x.org"}}
    for config in ({"rules": {"pii": {"method": "redact"}}}, {"columns": {"email": {"method": "redact"}}}):
        found = run(node(schema, **config), [row])[0].rows.to_pylist()[0]
        assert found["_before"] == {"id": 1, "email": "***"}


def test_an_empty_batch_passes() -> None:
    (batch,) = run(node(rules={"pii": {"method": "hash"}}), [])
    assert batch.num_rows == 0


def test_all_that_is_wrong_is_told_at_once() -> None:
    messages = told(
        rules={"pii.name": {"method": "date_shift", "key": KEY, "by": "id"}},
        columns={
            "id": {"method": "redact"},
            "user.nam": {"method": "redact"},
            "items": {"method": "hash"},
            "items.mail": {"method": "hash"},
            "user.born": {"method": "date_shift", "key": KEY, "by": "uid"},
            "note": {"method": "hmac_sha256", "key": "short"},
        },
    )
    assert messages == [
        "user.nam: there is no such column or field",
        "items.mail: 'items' is inside it, or around it",
        "id: redact masks texts, not int64",
        "user.born: there is no column 'uid' to shift its dates by",
        "pii.name: user.name: date_shift masks dates and times, not string",
        "items: hash masks no list",
        "note: the key is shorter than 16 characters",
    ]


def test_two_rules_for_one_value_must_agree() -> None:
    schema = Schema((Column("x", "string", tags=("a", "b")),))
    assert told(schema, rules={"a": {"method": "hash"}, "b": {"method": "redact"}}) == [
        "b: x is masked by 'a' in another way, too"
    ]
    assert node(schema, rules={"a": {"method": "hash"}, "b": {"method": "hash"}}).outputs([schema])[""]["x"].tags == ()


def test_a_rule_that_masks_nothing_is_remarked() -> None:
    mask = node(rules={"pii": {"method": "redact"}, "secret": {"method": "null"}})
    assert list(mask.remarks([SCHEMA])) == ["the rule 'secret' masks nothing: no column that comes in carries that tag"]


@pytest.mark.parametrize(
    "rule",
    [
        {"method": "rot13"},
        {"method": "redact", "key": KEY},
        {"method": "hmac_sha256"},
        {"method": "partial"},
        {"method": "generalise", "to": "month", "bucket": 5},
        {"method": "generalise", "bucket": 0},
        {"method": "date_shift", "key": KEY},
        {"method": "partial", "first": 1, "fill": "**"},
    ],
)
def test_settings_that_do_not_belong_together_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MaskConfig(rules={"a": rule})  # type: ignore[dict-item]


def test_no_key_is_shown_by_settings_or_by_their_errors() -> None:
    config = MaskConfig.model_validate({"rules": {"a": {"method": "hmac_sha256", "key": "very-secret-key-123"}}})
    assert "very-secret" not in repr(config)
    with pytest.raises(ValidationError) as raised:
        MaskConfig.model_validate({"rules": {"a": {"method": "hash", "key": "very-secret-key-123"}}})
    assert "very-secret" not in str(raised.value)


DATES = Schema.of({"who": "string", "day": "date", "mail": "string"}).tagged({"mail": ["pii"], "day": ["day"]})
SHIFTED = [
    {"who": "a", "day": dt.date(2020, 1, 1), "mail": "secret@x.org"},
    {"who": None, "day": dt.date(2020, 1, 2), "mail": "hidden@x.org"},
]
SHIFT = {"rules": {"day": {"method": "date_shift", "key": KEY, "by": "who"}}}


def test_a_row_that_cannot_be_masked_fails_or_is_left_out_or_loses_its_value() -> None:
    with pytest.raises(DataError, match="no id") as raised:
        run(node(DATES, **SHIFT), SHIFTED)
    assert "secret" not in str(raised.value)
    (kept,) = run(node(DATES, "skip", **SHIFT), SHIFTED)
    assert kept.rows["who"].to_pylist() == ["a"]
    (nulls,) = run(node(DATES, "null", **SHIFT), SHIFTED)
    assert [r["day"] is None for r in nulls.rows.to_pylist()] == [False, True]


def test_dead_letters_of_a_mask_hide_what_it_masks_and_what_is_tagged() -> None:
    mask = node(DATES, "dead_letter", rules=SHIFT["rules"], columns={"who": {"method": "hash"}})
    errors, kept = run(mask, SHIFTED)
    assert errors.stream == "errors"
    assert errors.rows["row"].to_pylist() == ['{"who":"***","day":"***","mail":"***"}']
    assert kept.num_rows == 1
    (event,) = mask.context.runtime.events
    assert (event.rows, event.node) == (1, "n")


def test_values_in_chunks_are_masked_like_others() -> None:
    mask = node(rules={"pii": {"method": "redact"}})
    mask.open()
    one = pa.Table.from_pylist(ROWS, schema=SCHEMA.to_arrow())
    (batch,) = mask.process(Batch(pa.concat_tables([one, one])))
    assert batch.rows["email"].to_pylist() == ["***"] * 4


CARDS = Schema.of({"card": "string", "id": "int64"}).tagged({"card": ["pan"], "id": ["pii"]})
CARD = "4111-1111-1111-1111"


def test_cards_become_other_cards_and_ids_tokens_that_can_be_joined() -> None:
    rules = {"pan": {"method": "format_preserving", "key": KEY}, "pii": {"method": "tokenise", "key": KEY}}
    mask = node(CARDS, rules=rules)
    assert [(c.type, c.tags) for c in mask.outputs([CARDS])[""]] == [("string", ()), ("string", ())]
    (first,) = run(mask, [{"card": CARD, "id": 7}, {"card": CARD, "id": 8}])
    (second,) = run(node(CARDS, rules=rules), [{"card": CARD, "id": 7}])
    assert first.rows["card"].to_pylist() == second.rows["card"].to_pylist() * 2
    assert first.rows["id"].to_pylist()[0] == second.rows["id"].to_pylist()[0]
    assert CARD not in str(first.rows.to_pylist())


def test_a_card_that_is_none_is_a_dead_letter_or_null_and_never_seen() -> None:
    rules = {"pan": {"method": "format_preserving", "key": KEY}, "pii": {"method": "null"}}
    rows = [{"card": "4111", "id": 1}, {"card": CARD, "id": 2}]
    errors, kept = run(node(CARDS, "dead_letter", rules=rules), rows)
    assert errors.rows["row"].to_pylist() == ['{"card":"***","id":"***"}']
    assert "4111" not in errors.rows["error"][0].as_py()
    assert kept.num_rows == 1
    sure = Schema(tuple(Column(c.name, c.type, nullable=False, tags=c.tags) for c in CARDS))
    mask = node(sure, "null", rules=rules)
    assert mask.outputs([sure])[""]["card"].nullable
    assert not node(sure, "skip", rules=rules).outputs([sure])[""]["card"].nullable
    (nulls,) = run(mask, rows)
    assert nulls.rows["card"].to_pylist()[0] is None
    with pytest.raises(DataError, match="characters of the alphabet") as raised:
        run(node(CARDS, rules=rules), rows)
    assert "4111" not in str(raised.value)


def test_an_alphabet_that_is_none_is_told_by_the_plan() -> None:
    rule = {"method": "format_preserving", "key": KEY, "alphabet": "a"}
    assert "two characters or more" in told(CARDS, columns={"card": rule})[0]


def test_a_cipher_without_its_library_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "needs the package cryptography" in told(CARDS, columns={"card": {"method": "tokenise", "key": KEY}})[0]
