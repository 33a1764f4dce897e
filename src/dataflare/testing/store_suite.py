"""What every state store must do; subclass it in a test and say how to make one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.errors import LeaseHeldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.component import StateStore

LARGE = bytes(range(256)) * (3 << 12)
"""3 MiB: more than a store keeps in a row."""


class StoreSuite(ABC):
    """The contract of `StateStore`. `make` returns a store on one and the same place, which the suite opens.

    `durable`: another instance on that place, also in another process, sees what was written and who holds a lease.
    """

    durable = True

    @abstractmethod
    def make(self) -> StateStore[Any]:
        """Return a store that is not open yet."""

    @pytest.fixture
    def store(self) -> Iterator[StateStore[Any]]:
        """An open store."""
        store = self.make()
        store.open()
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: StateStore[Any]) -> Iterator[StateStore[Any]]:
        """Another open store on the same place; the same one where that is all there is."""
        if not self.durable:
            yield store
            return
        other = self.make()
        other.open()
        yield other
        other.close()

    def test_a_key_that_was_never_written_has_no_value(self, store: StateStore[Any]) -> None:
        """`get` tells None."""
        assert store.get("w/none") is None

    @pytest.mark.parametrize("value", [b"", b"\x00\xff", LARGE], ids=["empty", "small", "large"])
    def test_a_value_comes_back_as_it_was(self, store: StateStore[Any], other: StateStore[Any], value: bytes) -> None:
        """Empty, binary and large ones."""
        store.put("w/a", value)
        assert other.get("w/a") == value

    @pytest.mark.parametrize("first", [b"small", LARGE], ids=["small", "large"])
    @pytest.mark.parametrize("second", [b"SMALL", LARGE[::-1]], ids=["small", "large"])
    def test_put_replaces(self, store: StateStore[Any], first: bytes, second: bytes) -> None:
        """Any size by any size."""
        store.put("w/a", first)
        store.put("w/a", second)
        assert store.get("w/a") == second

    @pytest.mark.parametrize("value", [b"same", LARGE], ids=["small", "large"])
    def test_only_one_creates(self, store: StateStore[Any], other: StateStore[Any], value: bytes) -> None:
        """Even when both write the same value, and the loser leaves the winner's value alone."""
        assert store.create("w/slot", value)
        assert not other.create("w/slot", value)
        assert not other.create("w/slot", value[::-1])
        assert store.get("w/slot") == value

    def test_of_many_threads_one_creates(self, store: StateStore[Any], other: StateStore[Any]) -> None:
        """The atomic step that the epoch protocol stands on."""
        stores = [store, other] * 8
        for slot in range(20):
            with ThreadPoolExecutor(len(stores)) as pool:
                wrote = list(pool.map(lambda s, n=slot: s.create(f"w/log/{n}", b"mine"), stores))
            assert wrote.count(True) == 1

    def test_keys_are_those_with_the_prefix_in_order(self, store: StateStore[Any]) -> None:
        """Words such as `%` and `_` mean nothing; a prefix ends anywhere."""
        keys = ["w/b", "w/a", "w2/a", "w_/a", "W/a", "w/ä", "w%/a", "v"]
        for key in keys:
            store.put(key, b"")
        assert store.keys("w/") == ["w/a", "w/b", "w/ä"]
        assert store.keys("w_") == ["w_/a"]
        assert store.keys("") == sorted(keys)

    def test_delete_removes_what_is_there_and_minds_nothing_else(self, store: StateStore[Any]) -> None:
        """Also large values and keys that are unknown."""
        for key, value in (("w/a", b"1"), ("w/b", LARGE), ("w/c", b"3")):
            store.put(key, value)
        store.delete(["w/a", "w/b", "w/unknown"])
        store.delete([])
        assert store.keys("") == ["w/c"]
        assert store.get("w/b") is None
        assert store.create("w/b", LARGE)

    def test_values_are_there_after_opening_again(self, store: StateStore[Any]) -> None:
        """What was written stays written."""
        store.put("w/a", b"1")
        store.put("w/b", LARGE)
        store.close()
        store.open()
        assert (store.get("w/a"), store.get("w/b")) == (b"1", LARGE)

    def test_a_lease_keeps_others_out_until_it_is_released(
        self, store: StateStore[Any], other: StateStore[Any]
    ) -> None:
        """One workflow has one runner; a lease released twice is released once."""
        lease = store.lease("tenant/w")
        with pytest.raises(LeaseHeldError, match="tenant/w"):
            other.lease("tenant/w")
        lease.release()
        again = other.lease("tenant/w")
        lease.release()
        with pytest.raises(LeaseHeldError):
            store.lease("tenant/w")
        again.release()

    def test_workflows_do_not_keep_each_other_out(self, store: StateStore[Any], other: StateStore[Any]) -> None:
        """Leases are by name."""
        leases = [store.lease("tenant/w"), other.lease("tenant/w2"), other.lease("tenant2/w")]
        for lease in leases:
            lease.release()

    def test_closing_gives_leases_back(self, store: StateStore[Any]) -> None:
        """A store that is closed holds nothing."""
        store.lease("tenant/w")
        store.close()
        store.open()
        store.lease("tenant/w").release()
