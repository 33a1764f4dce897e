"""Writes a long workflow: as many pipelines as it takes, each with what workflows of people have."""

from __future__ import annotations

from itertools import chain, count

LINES = 1500

_SOURCE = """\
  orders_{n}:
    type: file
    config:
      path: data/orders-{n}-*.csv
      format: csv
      columns:
        id: int64
        customer_id: int64
        placed_at: timestamp
        status: string
        email: string
        amount: "decimal(12,2)"
"""
_STEPS = """\
  clean_{n}:
    type: mapping
    inputs: [orders_{n}]
    config:
      set:
        email: lower(trim(email))
        day: cast(placed_at as date)
        net: cast(amount * 0.{n} as decimal(12,2))
        size: case when amount > 1{n} then 'large' when amount > 10 then 'middle' else 'small' end
      drop: [placed_at]
    on_error: {{action: dead_letter, max_rate: 1%}}
  paid_{n}:
    type: filter
    inputs: [clean_{n}]
    config: {{condition: "status in ('paid', 'shipped') and amount > {n} and email like '%@%'"}}
  split_{n}:
    type: route
    inputs: [paid_{n}]
    config: {{routes: {{large: "size = 'large'", rest: "true"}}, match: first}}
  daily_{n}:
    type: aggregate
    inputs: [paid_{n}]
    config:
      group_by: [day, customer_id]
      aggregations: {{orders: count(*), total: sum(net), most_{n}: max(amount)}}
"""
_DESTINATIONS = """\
  large_{n}: {{type: file, inputs: [split_{n}.large], config: {{path: out/large-{n}, format: parquet}}}}
  rest_{n}: {{type: file, inputs: [split_{n}.rest], config: {{path: out/rest-{n}, format: jsonl}}}}
  daily_{n}_lake:
    type: sqlite
    inputs: [daily_{n}]
    write_mode: merge
    config: {{path: lake.db, table: daily_{n}, key: [day, customer_id]}}
  dead_{n}: {{type: file, inputs: [clean_{n}.errors], config: {{path: out/dead-{n}, format: jsonl}}}}
"""
_PARTS = ("sources", _SOURCE), ("transformations", _STEPS), ("destinations", _DESTINATIONS)


def long_workflow(lines: int = LINES) -> str:
    """Return a valid workflow of at least so many lines, and hardly more."""
    for pipelines in count(1):
        sections = ((f"{name}:\n", *(text.format(n=n) for n in range(pipelines))) for name, text in _PARTS)
        text = "".join(chain(("id: long\n",), *sections))
        if text.count("\n") >= lines:
            return text
    raise AssertionError
