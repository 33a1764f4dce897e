"""The commands `dead-letter ...`: look at rejected rows that the state keeps, run them through again, drop them."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataflare.cli.console import say_error, table, write, write_json
from dataflare.cli.controlling import manager_of
from dataflare.cli.running import RunOptions, run_plan, signals_restored
from dataflare.cli.surroundings import plan_of, state_named
from dataflare.clock import SystemClock
from dataflare.errors import UnavailableError, WorkflowError
from dataflare.executor.surroundings import TENANT, StateOf
from dataflare.security.codec import Codec
from dataflare.security.secrets import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dataflare.component import Registry
    from dataflare.executor.contract import Outcome
    from dataflare.executor.replaying import Letter
    from dataflare.operate.dead_letters import LetterStore, Order
    from dataflare.plan import Plan

CELLS_MAX = 60
HEAD = ("id", "time (UTC)", "node", "code", "replays", "error", "row")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows are meant: of these ids, of a node, with a code, not older than `since` (a duration or an instant)."""

    ids: tuple[str, ...] = ()
    node: str = ""
    code: str = ""
    since: str = ""

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.ids or self.node or self.code or self.since)

    def of(self, letters: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those that are meant; raise WorkflowError for an id that is not there."""
        since = self._since()
        found = [
            letter
            for letter in letters
            if self.node in ("", letter["node"])
            and self.code in ("", letter["code"])
            and (not self.ids or letter["id"] in self.ids)
            and (not since or str(letter["time"]) >= since)
        ]
        unknown = set(self.ids) - {letter["id"] for letter in found}
        if unknown:
            raise WorkflowError(f"there is no rejected row {min(unknown)}", hint="see: dataflare dead-letter list")
        return found

    def _since(self) -> str:
        from dataflare.component.settings import seconds_of
        from dataflare.schedule import text_of

        if not self.since or (self.since[:4].isdigit() and "-" in self.since):
            return self.since
        try:
            return text_of(SystemClock().now() - round(seconds_of(self.since) * 1_000_000))
        except ValueError as error:
            raise WorkflowError(f"--since: {error}", hint="write 2h, 2026-01-31 or 2026-01-31T08:00") from error


def list_command(workflow: str, state: Path | None, filters: Filters, last: int, *, as_json: bool) -> int:
    """Print the last rejected rows, oldest first, and how many there are of each node and code."""
    with _kept(workflow, state) as (_, store):
        found = filters.of(store.letters())
    if as_json:
        for letter in found[-last:]:
            write_json(letter)
        return 0
    if not found:
        write("no rejected row is kept" + (" that fits" if filters.any else ""))
        return 0
    rows = [_line(letter) for letter in found[-last:]]
    write(table(HEAD, rows, right=(4,)))
    counts = Counter((x["node"], x["code"]) for x in found)
    write("\n" + ", ".join(f"{node}: {count:,} {code}" for (node, code), count in sorted(counts.items())))
    return 0


def _line(letter: dict[str, Any]) -> tuple[str, ...]:
    time, replays = str(letter["time"])[:19].replace("T", " "), str(letter["replays"] or "")
    return letter["id"], time, letter["node"], letter["code"], replays, _cut(letter["error"]), _cut(letter["row"])


def show_command(workflow: str, identity: str, state: Path | None, *, as_json: bool) -> int:
    """Print all that is known of a rejected row."""
    with _kept(workflow, state) as (_, store):
        (letter,) = Filters(ids=(identity,)).of(store.letters())
    if as_json:
        write_json(letter)
    else:
        width = max(map(len, letter))
        write("\n".join(f"{name:{width}}  {value}" for name, value in letter.items() if value is not None))
    return 0


def drop_command(workflow: str, state: Path | None, filters: Filters, *, everything: bool, as_json: bool) -> int:
    """Forget rejected rows."""
    if not filters.any and not everything:
        raise WorkflowError("say which rows are dropped", hint="name ids, --node, --code or --since; or --all")
    with _kept(workflow, state) as (where, store):
        found = filters.of(store.letters())
        store.drop(letter["id"] for letter in found)
    if as_json:
        write_json({"workflow": where.workflow, "dropped": len(found)})
    else:
        write(f"{_rows(len(found))} of {where.workflow} dropped")
    return 0


def replay_command(file: Path, filters: Filters, fixed: Path | None, *, as_json: bool) -> int:
    """Run rejected rows through their nodes again, each once; go on first with a replay that was broken off."""
    from dataflare.component import Registry

    registry = Registry.installed()
    plan = plan_of(file, registry)
    with _kept(str(file), None) as (_, store):
        order = store.pending()
        if order is None:
            letters = _wanted(store, filters, fixed)
            if not letters:
                write_json(_said(plan, 0, 0)) if as_json else write("there is no rejected row to replay")
                return 0
            _planned(plan, registry, 0, letters)  # what cannot be is said before it is begun
            order = store.order(letters)
        elif not as_json:
            write(f"going on with the replay of {_rows(len(order.letters))} that was broken off")
    return _replayed(file, plan, registry, order, as_json=as_json)


def _replayed(file: Path, plan: Plan, registry: Registry, order: Order, *, as_json: bool) -> int:
    whole, known, replay = _planned(plan, registry, order.number, order.letters)
    outcome: Outcome | None = None
    number = 0
    for _ in range(2):  # the first may do no more than complete a run that was broken off at its very end
        with signals_restored():
            outcome, number = run_plan(whole, known, RunOptions(as_json=as_json, replay=replay))
        with _kept(str(file), None) as (where, store):
            done = order.is_done(_committed(where, known))
            if done:
                store.replayed(order)
        if done or number or outcome is None or outcome.error is not None:
            break
    if outcome is not None and outcome.error is not None:
        say_error(outcome.error, as_json=as_json)
        return outcome.error.exit_code
    if not done:
        hint = "what is committed stays; go on with: dataflare dead-letter replay"
        raise UnavailableError("the replay was broken off", hint=hint)
    again = sum(counts.get("rows_dead", 0) for counts in outcome.nodes.values()) if outcome is not None else 0
    if as_json:
        write_json(_said(plan, len(order.letters), again))
    else:
        more = f"; {again:,} {'was' if again == 1 else 'were'} rejected again" if again else ""
        count = len(order.letters)
        write(f"{_rows(count)} of {plan.workflow} {'is' if count == 1 else 'are'} replayed{more}")
    return 0


def _planned(plan: Plan, registry: Registry, number: int, letters: Sequence[Letter]) -> Any:
    from dataflare.executor.replaying import replaying

    return replaying(plan, registry, number, letters)


def _said(plan: Plan, replayed: int, again: int) -> dict[str, Any]:
    return {"workflow": plan.workflow, "replayed": replayed, "rejected_again": again}


def _committed(where: StateOf, registry: Registry) -> Any:
    from dataflare.executor.runtime import LocalRuntime

    with where.existing_store(registry, LocalRuntime()) as store:
        return manager_of(store, where.workflow).committed()


def _wanted(store: LetterStore, filters: Filters, fixed: Path | None) -> list[Letter]:
    """Return the rows to replay; those of `fixed` in the place of what is kept under their ids."""
    from dataflare.executor.replaying import Letter
    from dataflare.operate.dead_letters import REPLAYED_AT_ONCE

    by_id = _fixed(fixed)
    chosen = replace(filters, ids=(*filters.ids, *by_id)) if by_id else filters
    found = chosen.of(store.letters())[:REPLAYED_AT_ONCE]
    letters = []
    for letter in found:
        row = by_id.get(letter["id"], letter["row"])
        text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
        if HIDDEN in text:
            raise WorkflowError(
                f"the row {letter['id']} holds values that were hidden ({HIDDEN})",
                hint="give it whole with --rows FILE, or run the workflow again instead",
            )
        letters.append(Letter(letter["id"], letter["node"], text, letter["input"] or "", letter["replays"] or 0))
    return letters


def _fixed(path: Path | None) -> dict[str, Any]:
    """Read corrected rows: lines of JSON with `id` and `row` (an object, or its text), as `list --json` prints them."""
    if path is None:
        return {}
    try:
        values = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {value["id"]: value["row"] for value in values}
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        hint = "begin with: dataflare dead-letter list FILE --json > rows.jsonl"
        raise WorkflowError(f"{path} does not hold lines of JSON with id and row", hint=hint) from error


@contextmanager
def _kept(workflow: str, state: Path | None) -> Iterator[tuple[StateOf, LetterStore]]:
    from dataflare.component import Registry
    from dataflare.executor.dead_letters import letters_folder
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.operate.dead_letters import LetterStore

    where = state_named(workflow, state)
    with where.existing_store(Registry.installed(), LocalRuntime()) as store:
        folder = letters_folder(where)
        assert folder is not None  # else there is no such store
        yield where, LetterStore(folder, store, Codec(), where.workflow, tenant=TENANT)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _cut(text: Any) -> str:
    line = "".join(c if c.isprintable() else " " for c in str(text or ""))
    return line if len(line) <= CELLS_MAX else line[: CELLS_MAX - 1] + "…"


__all__ = ["Filters", "drop_command", "list_command", "replay_command", "show_command"]
