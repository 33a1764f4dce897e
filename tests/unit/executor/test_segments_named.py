"""Segments that positions of a source name are kept, wherever in them they stand."""

from __future__ import annotations

from dataflare.executor.segments import named_in


def test_segments_are_found_in_open_splits_in_what_lies_ahead_and_in_lists() -> None:
    state = {
        "since": {"marks": {"t": {"value": "segment", "keys": None}}},
        "open": [{"id": "t#1", "position": {"at": {"key": [1]}, "layers": [{"segment": "a"}, {"segment": "b"}]}}],
        "ahead": {"t#keys2": {"t#keys1": {"layers": [{"segment": "c", "rows": 1}]}, "t#3": None}},
        "segment": 7,
    }
    assert list(named_in(state)) == ["a", "b", "c"]
