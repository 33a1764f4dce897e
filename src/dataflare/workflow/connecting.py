"""Asks every component whether its surroundings are as its settings say: all at the same time, each within a limit."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.component.contract import Component
from dataflare.errors import DataFlareError, ExternalError
from dataflare.plan_words import NodeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dataflare.plan import Guarantee
    from dataflare.workflow.drafts import Draft, Outline
    from dataflare.workflow.faults import Faults
    from dataflare.workflow.flow import Flow

    Ask = Callable[[Any], Any]

SECONDS_MAX = 10.0
"""How long one component may take to answer."""
TOGETHER_MAX = 32
FOREIGN = (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, NotImplementedError, ImportError)
"""What the code of a component may raise besides our own errors."""


def settle_contexts(
    outline: Outline, flow: Flow, guarantees: Mapping[str, Guarantee], traits: Mapping[str, Mapping[str, Any]]
) -> None:
    """Tell every destination what reaches it and how it commits, so that it can compare that with what is there.

    `traits` are what changes of columns leave to each node (`Evolving.traits`).
    """
    for draft in outline.drafts.values():
        if draft.kind is not NodeKind.DESTINATION or draft.component is None:
            continue
        typed = flow.edges.get(draft.id) and flow.typed(draft.id)
        schemas = {str(n): o.schema for n, o in enumerate(flow.inputs(draft.id))} if typed else {}
        mechanism, ddl = guarantees[draft.id].mechanism, traits.get(draft.id, {}).get("ddl", {})
        draft.component.context = replace(draft.component.context, schemas=schemas, mechanism=mechanism, ddl=ddl)


def check_surroundings(outline: Outline, faults: Faults, seconds: float = SECONDS_MAX) -> None:
    """Report all that components find wrong around them; one that does not answer in time is reported, and left alone.

    Blocking; call it in a worker thread, never on an event loop. A plain `check` that hangs keeps its thread.
    """
    drafts = [d for d in outline.drafts.values() if d.component is not None and _checks(d.component)]
    answers = ask_each(drafts, lambda component: component.check(), seconds)
    for draft, errors in zip(drafts, answers, strict=True):
        for error in errors:
            if isinstance(error, DataFlareError):
                faults.tell(draft, error)
            else:
                faults.foreign(draft, error)


def _checks(component: Any) -> bool:
    return type(component).check is not Component.check


def ask_each(drafts: Sequence[Draft], ask: Ask, seconds: float = SECONDS_MAX) -> list[Sequence[Any]]:
    """Return what each component answers, or its error alone: all are asked at the same time.

    Blocking, as `check_surroundings` is; so may be what is asked, which goes to threads.
    """
    if not drafts:
        return []
    pool = ThreadPoolExecutor(min(TOGETHER_MAX, len(drafts)), "ask")
    try:
        return asyncio.run(_answers(drafts, ask, pool, seconds))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _answers(drafts: Sequence[Draft], ask: Ask, pool: ThreadPoolExecutor, seconds: float) -> list[Sequence[Any]]:
    return await asyncio.gather(*(_answer(partial(ask, d.component), pool, seconds) for d in drafts))


async def _answer(ask: Callable[[], Any], pool: ThreadPoolExecutor, seconds: float) -> Sequence[Any]:
    try:
        return await asyncio.wait_for(_asked(ask, pool), seconds)
    except TimeoutError:
        what = f"it did not answer within {seconds:g} seconds"
        return [ExternalError(what, hint="see whether it runs and can be reached from here")]
    except (DataFlareError, *FOREIGN) as error:
        return [error]


async def _asked(ask: Callable[[], Any], pool: ThreadPoolExecutor) -> Sequence[Any]:
    found = await asyncio.get_running_loop().run_in_executor(pool, ask)
    if inspect.isawaitable(found):
        found = await found
    return list(found or ())
