"""A long workflow is planned as a short one is, with few questions to the engine."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.long_workflow import long_workflow

from dataflare.component import Registry
from dataflare.expression import check
from dataflare.expression.session import Session
from dataflare.workflow import Loaded, load
from dataflare.workflow.row_steps import RowSteps


def loaded(text: str) -> Loaded:
    """Load it as a process does that has loaded nothing before."""
    check._read.clear()
    check._typed.clear()
    return load(text, registry=Registry.installed(), environ={})


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    for name in ("fetch", "execute"):
        real = getattr(Session, name)

        def count(self: Session, sql: str, *more: Any, real: Any = real) -> Any:
            asked.append(sql)
            return real(self, sql, *more)

        monkeypatch.setattr(Session, name, count)
    return asked


def without_aggregates(text: str) -> str:
    lines = text.splitlines()
    return (
        "\n".join(line for line in lines if "aggregations" not in line and "group_by" not in line)
        .replace("type: aggregate", "type: union")
        .replace("    config:\n  clean", "  clean")
        .replace("    config:\ndestinations", "destinations")
    )


def test_it_is_valid_and_long() -> None:
    text = long_workflow()
    assert 1500 <= text.count("\n") < 1600
    found = loaded(text)
    assert found.valid, found.findings
    assert found.typed


def test_what_is_asked_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = long_workflow(200).replace("amount * 0.2", "amuont * 0.2").replace("amount > 3 and", "amount >> and")
    ahead = loaded(text)
    monkeypatch.setattr(RowSteps, "foresee", lambda *_: None)
    monkeypatch.setattr(RowSteps, "foresee_types", lambda *_: None)
    turn = loaded(text)
    assert ahead.findings == turn.findings
    assert [f.severity for f in ahead.findings].count("error") == 2
    text = long_workflow(200)
    monkeypatch.undo()
    one = loaded(text).plan
    monkeypatch.setattr(RowSteps, "foresee", lambda *_: None)
    monkeypatch.setattr(RowSteps, "foresee_types", lambda *_: None)
    other = loaded(text).plan
    assert one is not None
    assert one == other


def test_row_wise_nodes_are_asked_for_together(questions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = without_aggregates(long_workflow())
    assert loaded(text).valid
    together = len(questions)
    questions.clear()
    monkeypatch.setattr(RowSteps, "foresee", lambda *_: None)
    monkeypatch.setattr(RowSteps, "foresee_types", lambda *_: None)
    assert loaded(text).valid
    assert len(questions) > 3 * together
