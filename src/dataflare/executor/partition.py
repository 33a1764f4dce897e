"""Which rows belong together: a stable hash of key columns, 256 key groups, and their spread over tasks.

The hash is DuckDB's, on the text of the keys, so it does not change with processes, restarts or column widths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component.context import KEY_GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


def task_of(group: int, parallelism: int) -> int:
    """Return the task that owns a key group: groups are split into `parallelism` even, contiguous runs."""
    return group * parallelism // KEY_GROUPS


def groups_of(index: int, parallelism: int) -> range:
    """Return the key groups that task `index` owns."""
    owned = [g for g in range(KEY_GROUPS) if task_of(g, parallelism) == index]
    return range(owned[0], owned[-1] + 1) if owned else range(0)


def partitions(rows: pa.Table, keys: Sequence[str], parallelism: int) -> list[tuple[int, pa.Table]]:
    """Split rows by their key group over tasks; order within each part is kept; empty parts are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from dataflare.expression.keys import key_groups

    def whole(number: int) -> pa.Scalar:
        return pa.scalar(number, pa.int32())

    groups = key_groups(rows, keys)
    owner = pc.divide(pc.multiply(groups, whole(parallelism)), whole(KEY_GROUPS))
    parts = ((number, rows.filter(pc.equal(owner, whole(number)))) for number in range(parallelism))
    return [(number, part) for number, part in parts if part.num_rows]
