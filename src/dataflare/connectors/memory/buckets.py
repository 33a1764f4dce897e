"""Named tables that live as long as the process: what memory destinations fill and memory sources read."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


@dataclass(slots=True)
class Bucket:
    """What is published, in order, by the name it was staged under; `incoming` will replace it at `finish`."""

    published: dict[str, pa.Table] = field(default_factory=dict)
    staged: dict[str, pa.Table] = field(default_factory=dict)
    incoming: dict[str, pa.Table] | None = None
    finished: frozenset[str] = frozenset()


class Buckets:
    """All buckets of a process, safe for several threads."""

    def __init__(self) -> None:
        """Begin empty."""
        self._buckets: dict[str, Bucket] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def rows(self, name: str) -> pa.Table | None:
        """Return what is published; None where nothing is."""
        import pyarrow as pa

        with self._lock:
            bucket = self._buckets.get(name)
            tables = [t for t in bucket.published.values() if t.num_columns] if bucket is not None else []
        return pa.concat_tables(tables, promote_options="default") if tables else None

    def put(self, name: str, rows: pa.Table) -> None:
        """Replace what is published by these rows."""
        with self._lock:
            self._buckets[name] = Bucket({"put": rows})

    def stage(self, name: str, attempt: int, rows: pa.Table) -> str:
        """Keep rows, not visible yet; return a handle that is new in this process and tells the attempt."""
        with self._lock:
            handle = f"{attempt}-{next(self._numbers)}"
            self._buckets.setdefault(name, Bucket()).staged[handle] = rows
        return handle

    def publish(self, name: str, handles: Sequence[str], *, replaces: bool) -> None:
        """Make staged rows visible, once; raise StateError for a handle that is nowhere."""
        with self._lock:
            bucket = self._buckets.setdefault(name, Bucket())
            if replaces and bucket.incoming is None and not bucket.finished.issuperset(handles):
                bucket.incoming = {}
            target = bucket.incoming if replaces and bucket.incoming is not None else bucket.published
            known = {*target, *bucket.finished}
            lost = [h for h in handles if h not in known and h not in bucket.staged]
            if lost:
                raise StateError(f"{lost[0]}: what was staged in memory is gone", hint="the process has ended since")
            for handle in handles:
                if handle not in known:
                    target[handle] = bucket.staged[handle]
                bucket.staged.pop(handle, None)

    def swap(self, name: str) -> None:
        """Put what came in by `replaces` in the place of what was published."""
        with self._lock:
            bucket = self._buckets.setdefault(name, Bucket())
            if bucket.incoming is not None:
                bucket.published, bucket.incoming = bucket.incoming, None
                bucket.finished = frozenset(bucket.published)

    def unstage(self, name: str, keep: Sequence[str], attempt: int) -> None:
        """Forget what attempts before `attempt` staged, except `keep`."""
        with self._lock:
            staged = self._buckets.setdefault(name, Bucket()).staged
            for handle in [h for h in staged if h not in keep and int(h.split("-")[0]) < attempt]:
                del staged[handle]

    def staged(self, name: str) -> list[str]:
        """Return the handles of what is staged."""
        with self._lock:
            return sorted(self._buckets.setdefault(name, Bucket()).staged)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._buckets.clear()


BUCKETS = Buckets()
"""The buckets of this process."""

__all__ = ["BUCKETS", "Buckets"]
