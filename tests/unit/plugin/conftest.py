"""Plugins of a few lines, opened."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from dataflare.plugin.compiled import CompiledFiles, usual_folder
from dataflare.plugin.engine import WasmEngine
from dataflare.plugin.guarded import GuardedInstance
from dataflare.plugin.host import QuietHost
from dataflare.plugin.limits import Limits
from dataflare.plugin.program import Program, Settings

EPOCH_MICROSECONDS = 1_700_000_000_000_000


@pytest.fixture(scope="session")
def engine():
    return WasmEngine(fuel=False, files=CompiledFiles(usual_folder()))


@pytest.fixture(scope="session")
def counting_engine():
    return WasmEngine(fuel=True, files=CompiledFiles(usual_folder()))


@pytest.fixture
def host():
    return QuietHost(now=EPOCH_MICROSECONDS)


class Opened:
    """A plugin that takes and gives Python values."""

    def __init__(self, instance, program):
        self.instance, self.program = instance, program

    def process(self, record):
        case, found = self.instance.call("process", json.dumps(record))
        if case == "keep":
            return json.loads(found)
        if case == "many":
            return [json.loads(one) for one in found]
        return None if case == "drop" else [(output, json.loads(one)) for output, one in found]

    def lines(self, *records):
        return self.batch("json-lines", len(records), "\n".join(map(json.dumps, records)))

    def columns(self, **columns):
        return self.batch("json-columns", len(next(iter(columns.values()))), json.dumps(columns))

    def batch(self, form, rows, data):
        parts, errors = self.instance.call("process-batch", (form, rows, data))
        read = json.loads if form == "json-columns" else lambda text: [json.loads(n) for n in text.split("\n") if n]
        found = {
            output: (count, read(text), list(sources) if sources is not None else None)
            for output, count, text, sources in parts
        }
        return found, dict(errors)


@pytest.fixture
def opened(tmp_path, engine, host):
    """Return what writes a source to a file and opens it."""
    with ExitStack() as stack:

        def open_(source, name="rules.js", settings=None, *, limits=None, of=engine, stateful=False):
            path = tmp_path / name
            path.write_text(source, encoding="utf-8")
            program = Program.load(path, of, name)
            instance = GuardedInstance(program, Settings(settings or {}), host, limits or Limits())
            stack.callback(instance.close)
            return Opened(instance.open(stateful=stateful), program)

        yield open_
