"""Plugins in Python: what `process` may return and raise, and what becomes of values."""

from __future__ import annotations

import array
import base64
import json
import math

import pytest

from dataflare.errors import WorkflowError
from dataflare.plugin.failures import BadRecordError, FatalError, TransientError
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Settings

BIG = 2**63 - 1


def test_a_record_becomes_another(python):
    plugin = python("def process(record):\n    return {**record, 'total': record['amount'] * 2}")
    assert plugin.process({"amount": 4, "name": "Zoë ☂"}) == {"amount": 4, "name": "Zoë ☂", "total": 8}


@pytest.mark.parametrize(
    "source",
    [
        "process = lambda r: {'a': r['a'] + 1}",
        "class P:\n    def __call__(self, r): return {'a': r['a'] + 1}\nprocess = P()",
        "def process(r):\n    r['a'] += 1\n    return r",
        "def process(r):\n    yield {'a': r['a'] + 1}",
        "def process(r):\n    return ({'a': r['a'] + 1},)",
        "import collections\ndef process(r): return collections.OrderedDict(a=r['a'] + 1)",
        "from __future__ import annotations\ndef process(r: Row) -> Row: return {'a': r['a'] + 1}",
        "import dataclasses as d\n@d.dataclass\nclass A:\n    a: int\ndef process(r): return d.asdict(A(r['a'] + 1))",
        "# -*- coding: utf-8 -*-\r\ndef process(r): return {'a': r['a'] + 1}",
    ],
)
def test_all_ways_to_define_and_return_work(python, source):
    assert python(source).process({"a": 1}) in ({"a": 2}, [{"a": 2}])
    assert python(source).lines({"a": 1}, {"a": 2})[0] == {"": (2, [{"a": 2}, {"a": 3}], None)}


WHAT = """import dataflare
def process(r):
    match r["what"]:
        case "drop": return None
        case "none": return []
        case "many": return [{"n": 1}, {"n": 2}]
        case "route": return [{"n": 1}, dataflare.to("big", {"n": 2})]
        case "one": return dataflare.to("big", {"n": 3})
    return {"n": 0}
"""


def test_what_process_returns_decides(python):
    plugin = python(WHAT)
    assert plugin.process({"what": "drop"}) is None
    assert plugin.process({"what": "none"}) == []
    assert plugin.process({"what": "many"}) == [{"n": 1}, {"n": 2}]
    assert plugin.process({"what": "route"}) == [("", {"n": 1}), ("big", {"n": 2})]
    assert plugin.process({"what": "one"}) == [("big", {"n": 3})]


@pytest.mark.parametrize("form", ["lines", "columns"])
def test_rows_tell_which_ones_they_came_of(python, form):
    kinds = ["keep", "drop", "many", "route", "none", "one"]
    plugin = python("output = {'n': 'int64'}\noutputs = {'big': {'n': 'int64'}}\n" + WHAT)
    found, errors = plugin.lines(*({"what": k} for k in kinds)) if form == "lines" else plugin.columns(what=kinds)
    main, big = [0, 1, 2, 1], [2, 3]
    if form == "lines":
        expected = {"": (4, [{"n": n} for n in main], [0, 2, 2, 3]), "big": (2, [{"n": n} for n in big], [3, 5])}
    else:
        expected = {"": (4, {"n": main}, [0, 2, 2, 3]), "big": (2, {"n": big}, [3, 5])}
    assert (found, errors) == (expected, {})


def test_rows_that_are_all_kept_name_no_sources(python):
    plugin = python("def process(r): return r")
    assert plugin.lines({"a": 1}, {"a": 2}) == ({"": (2, [{"a": 1}, {"a": 2}], None)}, {})
    assert plugin.columns(a=[1, 2], b=["x", None]) == ({"": (2, {"a": [1, 2], "b": ["x", None]}, None)}, {})
    nothing = python("def process(r): return None")
    assert nothing.lines({"a": 1}) == ({"": (0, [], [])}, {})
    assert nothing.columns(a=[1], b=[2]) == ({"": (0, {"a": [], "b": []}, [])}, {})


def test_whole_numbers_and_texts_are_exact(python):
    plugin = python("def process(r): return {**r, 'n': r['n'] + 1}")
    record = {"n": BIG - 1, "x": -BIG, "f": 0.1, "text": 'a "b"\n\\ \u2028 ☂ \U0001f600', "none": None, "b": True}
    assert plugin.process(record) == {**record, "n": BIG}
    assert plugin.lines(record, record) == ({"": (2, [{**record, "n": BIG}] * 2, None)}, {})
    assert plugin.columns(n=[BIG - 1]) == ({"": (1, {"n": [BIG]}, None)}, {})


def test_decimals_come_as_decimals_and_moments_go_as_texts(python):
    source = """import datetime, decimal, uuid
def process(r):
    assert r["price"] is None or type(r["price"]) is decimal.Decimal, type(r["price"])
    at = datetime.datetime.fromisoformat(r["at"])
    return {"price": r["price"] and r["price"] * 3, "at": at + datetime.timedelta(days=1), "on": at.date(),
      "id": uuid.UUID(int=7)}"""
    plugin = python(source)
    told = Settings(decimals=("price",))
    instance = plugin.program.opened(told, plugin.instance._host, Limits())
    case, found = instance.call("process", '{"price":"12345678901234567.10","at":"2026-02-28T01:02:03Z"}')
    assert case == "keep"
    assert json.loads(found) == {
        "price": "37037036703703701.30",
        "at": "2026-03-01T01:02:03+00:00",
        "on": "2026-02-28",
        "id": "00000000-0000-0000-0000-000000000007",
    }
    line = '{"price":null,"at":"2026-02-28T01:02:03Z"}'
    (part,), errors = instance.call("process-batch", ("json-lines", 2, f"{line}\n{line}"))
    assert (part[1], errors) == (2, [])
    assert '"price":null' in part[2]


def test_a_bad_row_of_a_batch_is_told_with_its_line(python):
    plugin = python("def process(r):\n    if r['a'] < 0:\n        raise ValueError('below zero')\n    return r")
    assert plugin.columns(a=[1, -1, 3]) == ({"": (2, {"a": [1, 3]}, [0, 2])}, {1: "ValueError: below zero (3)"})
    assert plugin.lines({"a": -1}, {"a": 1}) == ({"": (1, [{"a": 1}], [1])}, {0: "ValueError: below zero (3)"})
    with pytest.raises(BadRecordError, match=r"^ValueError: below zero \(3\)$"):
        plugin.process({"a": -1})


@pytest.mark.parametrize(
    ("raised", "why"),
    [
        ("raise Exception('plain')", "plain (2)"),
        ("raise Exception", "Exception (2)"),
        ("raise KeyError('x')", "KeyError: 'x' (2)"),
        ("import dataflare; raise dataflare.BadRecord('bad')", "bad (2)"),
        ("import json; json.loads('{')", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 "),
        ("import sys; sys.exit(3)", "SystemExit: 3 (2)"),
        ("assert r == 1, 'no'", "AssertionError: no (2)"),
        ("return r['nowhere']", "KeyError: 'nowhere' (2)"),
        ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})", "E: it cannot be told: ZeroDivisionError (2)"),
        ("raise Exception('half \\ud800')", "half ? (2)"),
        ("eval('1 +')", "SyntaxError: invalid syntax (<string>, line 1) (2)"),
    ],
)
def test_what_is_raised_is_told_in_one_line(python, raised, why):
    plugin = python(f"def process(r):\n    {raised}")
    with pytest.raises(BadRecordError) as told:
        plugin.process({"a": 1})
    assert told.value.what.startswith(why)
    found, errors = plugin.lines({"a": 1}, {"a": 2})
    assert found[""][0] == 0
    assert [why.startswith(errors[n][:20]) for n in (0, 1)] == [True, True]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("5", "process returned no record, but int"),
        ("'text'", "process returned no record, but str"),
        ("[None]", "process returned None in a list"),
        ("[{'a': 1}, 5]", "process returned int in a list"),
        ("{'other': 1}", "process returned 'other', which is no column of the output"),
        ("{'a': 1, 'other': 1}", "process returned 'other', which is no column of the output"),
        ("{'a': b'x'}", "TypeError: a value of type bytes cannot be written as JSON"),
        ("{'a': {1, 2}}", "TypeError: a value of type set cannot be written as JSON"),
        ("{'a': '\\ud800'}", "UnicodeEncodeError: "),
        ("{'a': 10 ** 5000}", "ValueError: Exceeds the limit (4300 digits)"),
        ("{'a': {(1, 2): 3}}", "TypeError: keys must be str, int, float, bool or None, not tuple"),
    ],
)
def test_a_result_that_is_no_record_is_the_fault_of_its_row(python, result, why):
    plugin = python(f"def process(r):\n    return {result} if r['a'] == 2 else r")
    found, errors = plugin.columns(a=[1, 2, 3])
    assert found == {"": (2, {"a": [1, 3]}, [0, 2])}
    assert [*errors] == [1]
    assert errors[1].startswith(why)
    if "other" not in result:  # lines are compared with the columns by the host
        found, errors = plugin.lines({"a": 1}, {"a": 2}, {"a": 3})
        assert found == {"": (2, [{"a": 1}, {"a": 3}], [0, 2])}
        assert errors[1].startswith(why)


def test_of_several_records_of_a_row_none_counts_where_one_is_bad(python):
    source = "def process(r): return [r, {'a': b''}] if r['a'] == 1 else r"
    found, errors = python(source).lines({"a": 1}, {"a": 2})
    assert found == {"": (1, [{"a": 2}], [1])}
    assert [*errors] == [0]


def test_floats_that_are_no_numbers_are_texts_as_those_that_come_in(python):
    plugin = python("def process(r): return {'a': float(r['a']) * 10, 'b': [{'c': float('inf')}]}")
    expected = {"a": "NaN", "b": [{"c": "Infinity"}]}
    assert plugin.process({"a": "NaN"}) == expected
    assert plugin.lines({"a": "-Infinity"}) == ({"": (1, [{**expected, "a": "-Infinity"}], None)}, {})
    found, errors = python("def process(r): return {'a': float(r['a']) * 10}").columns(a=[1e308, 1])
    assert (found, errors) == ({"": (2, {"a": ["Infinity", 10.0]}, None)}, {})


def test_a_column_that_is_missing_is_null_and_given_ones_may_come_back(python):
    plugin = python("adds = {'x': 'int64', 'y': 'int64'}\ndef process(r): return {**r, 'y': 1}")
    assert plugin.columns(a=[1]) == ({"": (1, {"x": [None], "y": [1]}, None)}, {})
    plugin = python("output = {'x': 'int64'}\ndef process(r): return {}")
    assert plugin.columns(a=[1, 2]) == ({"": (2, {"x": [None, None]}, None)}, {})
    plugin = python("output = {'x': 'int64'}\ndef process(r): return {**r, 'x': 1}")
    assert plugin.columns(a=[1])[1] == {0: "process returned 'a', which is no column of the output"}


def test_an_asynchronous_function_is_refused(python):
    with pytest.raises(WorkflowError, match="process is asynchronous, and there is nothing to wait for"):
        python("async def process(r): return r")
    with pytest.raises(FatalError, match="process is asynchronous"):
        python("async def f(r): return r\ndef process(r): return f(r)").lines({"a": 1})


def test_floats_may_cross_as_their_bytes_and_whole_numbers_do_not(python):
    def packed(*values):
        return {"f64": base64.b64encode(array.array("d", values)).decode()}

    plugin = python("def process(r): return {**r, 'a': r['a'] and r['a'] * 2}")
    instance = plugin.program.opened(Settings(packed=True), plugin.instance._host, Limits())

    def through(**columns):
        ((_, count, data, sources),), errors = instance.call("process-batch", ("json-columns", 3, json.dumps(columns)))
        assert (count, sources, errors) == (3, None, [])
        return json.loads(data)

    assert through(a=packed(1.5, -0.25, 1e308), b=[1, 2, BIG]) == {"a": packed(3, -0.5, math.inf), "b": [1, 2, BIG]}
    assert through(a={**packed(1.5, 0, 3), "nulls": [1]}, b=["x"] * 3) == {"a": [3.0, None, 6.0], "b": ["x"] * 3}
    assert through(a=[1, 2.5, BIG], b=[True, None, 0.5]) == {"a": [2, 5.0, 2 * BIG], "b": [True, None, 0.5]}


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize(
    ("what", "kept"),
    [("None", []), ("[]", []), ("[r, r]", [5, 5]), ("{}", [None]), ("{**r, 'x': 1}", None), ("1 / 0", None)],
)
def test_a_row_that_is_not_plain_may_stand_anywhere(python, at, what, kept):
    values = [1, 2, 3, 4]
    values[at] = 5
    plugin = python(f"def process(r):\n    if r['a'] == 5: return {what}\n    return r")
    found, errors = plugin.columns(a=values)
    rows = [(n, v) for n, v in enumerate(values) if v != 5]
    rows = sorted(rows + [(at, value) for value in kept or []], key=lambda row: row[0])
    sources = None if [n for n, _ in rows] == [0, 1, 2, 3] else [n for n, _ in rows]
    assert found == {"": (len(rows), {"a": [v for _, v in rows]}, sources)}
    assert [*errors] == ([at] if kept is None else [])
    if what not in ("{}", "{**r, 'x': 1}"):
        lines, wrong = plugin.lines(*[{"a": v} for v in values])
        assert lines == {"": (len(rows), [{"a": v} for _, v in rows], sources)}
        assert wrong == errors


def test_a_record_that_is_returned_again_and_again_is_taken_each_time(python):
    plugin = python("one = {}\ndef process(r):\n    one['a'] = r['a']\n    return one")
    assert plugin.columns(a=[1, 2, 3]) == ({"": (3, {"a": [1, 2, 3]}, None)}, {})
    assert plugin.lines({"a": 1}, {"a": 2}) == ({"": (2, [{"a": 1}, {"a": 2}], None)}, {})


COLUMNS = """input = ["amount"]
output = {"total": "float64"}
def process_columns(columns, rows):
    return {"total": [a * rows for a in columns["amount"]]}"""


def test_columns_are_taken_whole(python):
    plugin = python(COLUMNS)
    assert plugin.columns(amount=[1, 2]) == ({"": (2, {"total": [2, 4]}, None)}, {})
    assert plugin.lines({"amount": 1}, {"amount": 2}) == ({"": (2, [{"total": 2}, {"total": 4}], None)}, {})
    with pytest.raises(FatalError, match="it defines no process"):
        plugin.process({"amount": 1})


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("{'a': [1], 'b': [1, 2]}", "2 values of b and 1 of a"),
        ("{'a': 'text'}", "returned str for a, which is no list"),
        ("[1]", "returned no dict of lists, but list"),
    ],
)
def test_columns_that_are_none_are_refused(python, result, why):
    with pytest.raises(FatalError, match=why):
        python(f"def process_columns(columns, rows): return {result}").columns(a=[1])


def test_errors_of_the_plugin_say_what_to_do(python):
    plugin = python("import dataflare\ndef process(r): raise getattr(dataflare, r['kind'])('so it is')")
    for kind, error in (("BadRecord", BadRecordError), ("Transient", TransientError), ("Fatal", FatalError)):
        with pytest.raises(error, match=r"^so it is \(2\)$"):
            plugin.process({"kind": kind})
    for kind, error in (("Transient", TransientError), ("Fatal", FatalError)):
        with pytest.raises(error, match="so it is"):
            plugin.lines({"kind": kind})
    assert plugin.lines({"kind": "BadRecord"})[1] == {0: "so it is (2)"}
