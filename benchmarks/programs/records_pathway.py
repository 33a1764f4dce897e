"""The peer pathway on W9: `records_pathway.py LINES OUTPUT`."""

from __future__ import annotations

import sys

import pathway as pw


class Record(pw.Schema):
    nr: int
    amount: float
    name: str
    city: str
    ts: str


lines, output = sys.argv[1:]
records = pw.io.jsonlines.read(lines, schema=Record, mode="static")
kept = records.filter(pw.this.amount >= 5)
priced = kept.with_columns(total=pw.apply_with_type(lambda amount: amount * 1.2, float, pw.this.amount))
pw.io.jsonlines.write(priced, output)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
