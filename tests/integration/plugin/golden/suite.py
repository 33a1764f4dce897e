"""The golden suite: what a plugin in any language does with the same rows, settings and state.

Beside this file lies the same plugin in each language. The field `kind` of a row says what it does with it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.plugin.engine import shared_engine
from dataflare.plugin.failures import BadRecordError, FatalError, TransientError, TrappedError
from dataflare.plugin.guarded import GuardedInstance
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RATE, NOW = 1.5, 1_700_000_000_123_456
NESTED = {"list": [{"amount": 8}, '}]"', "\\"], "deep": {"amount": 9}, "amount": 7}
TEXTS = [
    "",
    "plain",
    "größer 東京 🦋",
    'a "quoted" \\ back\\\\slash',
    "lines\nand\r\ttabs\b\f\x00\x1f\x7f",
    'a text of more than thirty-two letters, with a quote at its end"',
    "</script> \u2028 \uffff \U0010ffff",
]
NUMBERS = {
    "0": 0, "-0.0": None, "12": 12, "-12": -12, "9223372036854775807": 2**63 - 1, "-9223372036854775808": -(2**63),
    "9223372036854775808": None, "123456789012345678901234567890": None, "0.1": None, "1.37": None, "-2.5e-7": None,
    "1e300": None, "1.7976931348623157e308": None, "5e-324": None, "0.30000000000000004": None, "1234567.891": None,
    "123456789012.3456": None, "9007199254740993": 9007199254740993, "1E2": None,
}  # fmt: skip
"""Numbers as they are written, and the whole numbers of 64 bits that they are read as."""


def row(number: int, kind: str, **fields: Any) -> str:
    """Return a record as the host writes it."""
    return json.dumps({"id": number, "kind": kind, **fields}, ensure_ascii=False, separators=(",", ":"))


def _cases() -> Iterator[tuple[str, Mapping[str, list[Any]] | str]]:
    """Yield records, and what comes of each: records by output, or the reason why it is bad."""
    yield row(1, "copy", text='{"kind":"drop"}'), {"": [{"id": 1, "kind": "copy", "text": '{"kind":"drop"}'}]}
    yield row(2, "keep", amount=2.5), {"": [{"id": 2, "kind": "keep", "amount": 2.5, "total": 3.75}]}
    yield row(3, "keep", amount=None), "there is no amount"
    yield row(4, "keep", amount="2"), "there is no amount"
    yield row(5, "keep"), "there is no amount"
    yield row(6, "drop", amount=1), {}
    yield row(7, "bad", text='why\n"not"'), 'it is bad: why\n"not"'
    parts = [{"id": 8, "part": part} for part in range(3)]
    yield row(8, "many"), {"": parts}
    yield row(8, "routes"), {"big": parts[:1], "": parts[1:2], "added": parts[2:]}
    yield row(9, "what"), "what is what"
    yield "{}", "there is no kind"
    yield '{"id":1,"inside":{"kind":"copy"}}', "there is no kind"
    for text in TEXTS:
        yield row(10, "text", text=text), {"": [{"text": text}]}
        yield json.dumps({"text": text, "kind": "text"}), {"": [{"text": text}]}
    yield '{"kind":"text","text":"\\/\\u0041\\ud83e\\udd8B\\ud83e!"}', {"": [{"text": "/A🦋\ufffd!"}]}
    yield '{"kind":"text","text":"\\ud83e\\u0041\\udd8b"}', {"": [{"text": "\ufffdA\ufffd"}]}
    for written, whole in NUMBERS.items():
        found = {"raw": json.loads(written), "whole": whole, "number": float(written)}
        yield f'{{"kind":"number","amount":{written}}}', {"": [found]}
    yield row(11, "number", amount=True), {"": [{"raw": True, "whole": None, "number": None}]}
    yield row(12, "with", amount=10, text="{"), {"": [{"id": 12, "kind": "with", "amount": 15.0, "text": "{"}]}
    yield row(13, "inside", inside=NESTED, amount=1), {"": [{"found": 7}]}
    yield row(14, "inside", text='"inside":{"amount":1}', inside={"a": {"amount": 2}}), {"": [{"found": None}]}
    spaced = ' { "id" : 15 , "amounts" : 3, "k\\u0069nd"\t: "keep" ,"x": [ 1 , {"amount": 4} ] , "amount" : 2 }'
    yield spaced.strip(), {"": [{**json.loads(spaced), "total": 3.0}]}


CASES = list(_cases())


class Golden:
    """The plugin in one language. `limits`: more than enough for it."""

    def __init__(self, module: Path, limits: Limits) -> None:
        """Load it."""
        self.limits = limits
        self.program = Program.load(module, shared_engine(), module.name)

    def opened(self, host: QuietHost | None = None, **settings: Any) -> GuardedInstance:
        """Return an instance that is open; close it."""
        host = host or QuietHost(now=NOW)
        return GuardedInstance(self.program, Settings(settings or {"rate": RATE}), host, self.limits).open(
            stateful=True
        )


def _batch(instance: GuardedInstance, rows: list[str]) -> tuple[dict[str, list[Any]], list[Any], dict[str, list[int]]]:
    """Return the records by output, the errors, and where they came from."""
    parts, errors = instance.call("process-batch", ("json-lines", len(rows), "\n".join(rows)))
    found: dict[str, list[Any]] = {}
    sources = {}
    for name, count, data, origins in parts:
        assert name not in found
        found[name] = [json.loads(line) for line in data.split("\n")] if count else []
        assert len(found[name]) == count
        sources[name] = list(origins) if origins is not None else list(range(count))
    return found, errors, sources


def _alone(instance: GuardedInstance, record: str) -> list[tuple[str, Any]]:
    case, found = instance.call("process", record)
    routed = {
        "keep": lambda: [("", found)],
        "drop": list,
        "many": lambda: [("", f) for f in found],
        "route": lambda: found,
    }
    return [(output, json.loads(value)) for output, value in routed[case]()]


# ---- the tests ------------------------------------------------------------------------------------------------------


def describes_itself(golden: Golden) -> None:
    """What it says of itself arrives whole."""
    told = golden.program.described(Settings(), QuietHost(), golden.limits)
    assert (told.name, told.version, told.settings_schema) == ("golden", "1.2.3", {"type": "object"})
    assert (told.stateful, told.format) == (True, "json-lines")
    assert told.input == ("id", "kind", "amount", "text", "inside")
    outputs = {name: (output.columns, output.adds) for name, output in told.outputs.items()}
    assert outputs == {
        "": (None, False),
        "big": ((("id", "int64"), ("part", "int64")), False),
        "added": ((("total", "float64"),), True),
    }


def refuses_settings(golden: Golden) -> None:
    """An error of `open` is told with its words."""
    with pytest.raises(Exception, match="rate is no number"):
        golden.opened(rate="much")


def takes_each_record_alone(golden: Golden) -> None:
    """`process` gives for each record what it should."""
    instance = golden.opened()
    for record, expected in CASES:
        if isinstance(expected, str):
            with pytest.raises(BadRecordError) as raised:
                _alone(instance, record)
            assert raised.value.what == expected, record
        else:
            outputs = [(output, one) for output, records in expected.items() for one in records]
            assert _alone(instance, record) == outputs, record
    instance.close()


def takes_all_records_in_a_batch(golden: Golden) -> None:
    """`process-batch` gives the same, and says which row each record came of."""
    instance = golden.opened()
    found, errors, sources = _batch(instance, [record for record, _ in CASES])
    expected: dict[str, list[Any]] = {"": [], "big": [], "added": []}
    origins: dict[str, list[int]] = {"": [], "big": [], "added": []}
    bad = []
    for number, (_, outcome) in enumerate(CASES):
        if isinstance(outcome, str):
            bad.append((number, outcome))
            continue
        for output, records in outcome.items():
            expected[output] += records
            origins[output] += [number] * len(records)
    assert {name: records for name, records in found.items() if records} == expected
    assert {name: rows for name, rows in sources.items() if rows} == origins
    assert errors == bad
    instance.close()


def ends_a_batch_as_it_says(golden: Golden) -> None:
    """A record that fails for now or for ever ends its batch, whatever was written before."""
    instance = golden.opened()
    for kind, error, words in (("transient", TransientError, "not now: ü"), ("fatal", FatalError, "never: ü")):
        record = row(1, kind, text="ü")
        for call in (lambda r: _batch(instance, [row(0, "routes"), row(0, "bad", text="x"), r, row(2, "many")]), None):
            with pytest.raises(error) as raised:
                call(record) if call else _alone(instance, record)
            assert raised.value.what == words
    assert _alone(instance, row(1, "many"))[0] == ("", {"id": 1, "part": 0})
    instance.close()


def takes_empty_and_large_batches(golden: Golden) -> None:
    """No row, and ten thousand rows, of which each is where it was."""
    instance = golden.opened()
    found, errors, _ = _batch(instance, [])
    assert (any(found.values()), errors) == (False, [])
    rows = [row(n, "keep", amount=n, text="x" * (n % 50)) for n in range(10_000)]
    found, errors, sources = _batch(instance, rows)
    assert [one["total"] for one in found[""]] == [n * RATE for n in range(10_000)]
    assert (sources[""], errors) == (list(range(10_000)), [])
    rows[5000] = row(5000, "drop")
    found, _, sources = _batch(instance, rows)
    assert sources[""] == [*range(5000), *range(5001, 10_000)]
    assert [one["id"] for one in found[""]] == sources[""]
    instance.close()


def keeps_state(golden: Golden) -> None:
    """Its own state goes out and comes in; that of keys is the host's."""
    host = QuietHost(now=NOW)
    instance = golden.opened(host)
    assert instance.call("export-state") == "0"
    befores = [_alone(instance, row(7, "state", amount=amount)) for amount in (1.5, 12345678901234567, None, 3)]
    assert befores == [[("", {"before": before})] for before in (None, 1.5, 12345678901234567, None)]
    assert json.loads(host.state["[7]"]) == 3
    assert instance.call("export-state") == "4"
    with pytest.raises(FatalError, match="the state is no number"):
        instance.call("import-state", '"four"')
    instance.call("import-state", "9007199254740993")
    _alone(instance, row(1, "copy"))
    assert instance.call("export-state") == "9007199254740994"
    instance.close()


def tells_the_host(golden: Golden) -> None:
    """Logs, metrics and the time of the epoch cross."""
    host = QuietHost(now=NOW)
    instance = golden.opened(host)
    for text in TEXTS:
        assert _alone(instance, row(1, "told", text=text)) == [("", {"now": NOW})]
    assert host.said == [("warn", text) for text in TEXTS]
    assert host.metrics == {"told": 2.5 * len(TEXTS)}
    instance.close()


def takes_no_more_memory_with_time(golden: Golden) -> None:
    """Batches and records without end need no more memory than the first ones."""
    instance = golden.opened()
    fields = {"text": '"' + "x" * 60, "amount": "y" * 300}
    rows = [row(n, kind, **fields) for n in range(250) for kind in ("routes", "bad", "text", "state")]
    for _ in range(150):
        found, errors, _ = _batch(instance, rows)
        assert (len(found["big"]), len(errors)) == (250, 250)
    for number in range(2000):
        _alone(instance, row(number, "text", text="y" * 1000))
    assert int(instance.call("export-state")) == 150 * len(rows) + 2000
    instance.close()


def is_contained(golden: Golden) -> None:
    """What it does wrong ends its instance; the next one has the state from before."""
    host = QuietHost(now=NOW)
    instance = golden.opened(host)
    words = {
        "loop": "longer than it may",
        "grow": "gave up|reached beyond|ended itself",
        "deep": "nested too deeply|beyond its memory|it gave up|ended itself",
        "panic": "gave up|ended itself",
        "bytes": "no Unicode text",
    }
    for number, (kind, said) in enumerate(words.items(), 1):
        _alone(instance, row(number, "copy"))
        for call in (_alone, lambda i, r: _batch(i, [row(0, "state", amount=1), r])):
            with pytest.raises(TrappedError, match=said):
                call(instance, row(number, kind, text="with words"))
            assert instance.call("export-state") == str(number), kind
    assert host.state == {}
    assert any(level == "error" and "with words" in text for level, text in host.said), host.said
    instance.close()


TESTS = (
    describes_itself,
    refuses_settings,
    takes_each_record_alone,
    takes_all_records_in_a_batch,
    ends_a_batch_as_it_says,
    takes_empty_and_large_batches,
    keeps_state,
    tells_the_host,
    takes_no_more_memory_with_time,
    is_contained,
)
