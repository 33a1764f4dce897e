"""Runs workflows, many in one process: submits them to the supervisor, passes control on, tells how each ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dataflare.actor.cell import Actor, Answer
from dataflare.actor.supervisor import Child, RestartPolicy, SupervisorActor
from dataflare.errors import DataFlareError, UnavailableError, WorkflowError
from dataflare.executor.contract import Outcome, RunContext
from dataflare.executor.evolving import evolved, memory_of
from dataflare.executor.faults import told
from dataflare.executor.graph import TaskGraph, task_graph
from dataflare.executor.job import Job
from dataflare.executor.recoding import CodeWatch, coded
from dataflare.executor.reloading import Reloaded, followed, reloaded
from dataflare.executor.workflow_actor import Ending, WorkflowActor
from dataflare.monitoring.events import AttemptFailed, Event, RunEnded
from dataflare.security.codec import Codec
from dataflare.state.checkpoint import CheckpointManager
from dataflare.state.ledger import metrics, notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.actor.ref import ActorRef
    from dataflare.plan import Plan
    from dataflare.state.checkpoint import Proposal

RELOAD, FOLLOWED = "reload", "followed"
"""The requests that are answered here: another attempt follows the first one."""
TAKEN_SECONDS_MAX, ASKED_SECONDS = 60.0, 0.02
"""How long a reload is waited for, and how often it is looked at: an epoch is sealed in between."""


@dataclass(slots=True)
class _Run:
    """A submitted workflow and what became of it so far."""

    plan: Plan
    context: RunContext
    graph: TaskGraph
    began: float
    outcome: asyncio.Future[Outcome]
    attempts: int = 0
    latest: int = 0
    first_epoch: int | None = None
    ending: Ending | None = None
    checkpoints: CheckpointManager | None = None
    changed: bool = False
    reloaded: Reloaded | None = None
    written: Plan | None = None
    codes: CodeWatch = field(default_factory=CodeWatch)
    reloading: asyncio.Lock = field(default_factory=asyncio.Lock)


class CoordinatorActor(Actor):
    """Owns the supervisor; one run for each workflow."""

    def __init__(self) -> None:
        """Start with no run."""
        self._runs: dict[str, _Run] = {}
        self._draining = False
        self._supervisor: ActorRef | None = None

    async def submit(self, plan: Plan, context: RunContext) -> asyncio.Future[Outcome]:
        """Run a workflow; the answer comes when it has ended."""
        if plan.workflow in self._runs:
            raise Answer(WorkflowError(f"workflow {plan.workflow!r} is running already"))
        loop = asyncio.get_running_loop()
        run = _Run(
            plan, context, task_graph(plan, context.registry), context.runtime.clock.monotonic(), loop.create_future()
        )
        self._runs[plan.workflow] = run
        if self._supervisor is None:
            self._supervisor = await self.context.system.spawn(SupervisorActor, context.runtime, name="supervisor")
        child = Child(
            name=plan.workflow,
            kind=WorkflowActor,
            arguments=lambda: (partial(self._job, run), partial(self._ending, run), context.deadline_seconds),
            policy=_policy(plan),
            on_end=lambda error: self.context.note("ended", plan.workflow, error),
            on_restart=partial(self._restarting, run),
        )
        await self._supervisor.ask("supervise", child)
        if self._draining:
            await self.stop_all()
        return run.outcome

    async def request(self, workflow: str, verb: str, *arguments: Any) -> Any:
        """Pass a control message to the workflow's present attempt."""
        assert self._supervisor is not None
        if verb == FOLLOWED and workflow in self._runs:
            return followed(self._runs[workflow].plan)
        ref = await self._supervisor.ask("current", workflow) if workflow in self._runs else None
        if ref is None:
            raise Answer(WorkflowError(f"workflow {workflow!r} is not running now", hint="it may be about to restart"))
        asked = self._reload(self._runs[workflow], ref) if verb == RELOAD else ref.ask(verb, *arguments)
        answer = asyncio.get_running_loop().create_task(asked)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answer

    async def stop_all(self) -> None:
        """Drain every workflow, also one that is submitted later."""
        self._draining = True
        for name in list(self._runs):
            ref = await self._supervisor.ask("current", name) if self._supervisor else None
            if ref is not None:
                ref.tell("stop")
            elif self._supervisor is not None:
                self._supervisor.tell("stop_child", name)

    async def ended(self, workflow: str, error: BaseException | None) -> None:
        """A workflow is over for good: say how."""
        run = self._runs.pop(workflow, None)
        if run is None or run.outcome.done():
            return
        proposal = run.ending.proposal if run.ending else await self._committed(run)
        outcome = self._outcome(run, proposal, told(error, run.plan) if error is not None else None)
        run.context.runtime.emit(RunEnded(workflow, outcome.status, outcome.epochs))
        run.outcome.set_result(outcome)

    async def _reload(self, run: _Run, ref: ActorRef) -> dict[str, Any]:
        """Let the workflow go on by its text as it is now; return once an attempt does. One after the other."""
        if (await ref.ask("describe"))["status"] == "paused":
            raise WorkflowError(f"{run.plan.workflow} is paused", hint=f"run: dataflare resume {run.plan.workflow}")
        async with run.reloading:
            assert run.checkpoints is not None
            runtime, plan = run.context.runtime, run.plan
            found = await runtime.call(reloaded, plan, run.context, run.checkpoints)
            if found.plan != plan:
                run.reloaded = found
                await self._renewed(run)
            return {"changed": found.plan != plan, **followed(found.plan)}

    async def _renewed(self, run: _Run) -> None:
        """Wait until an attempt has taken what was reloaded; each attempt that has not is asked to end."""
        assert self._supervisor is not None
        clock, name = run.context.runtime.clock, run.plan.workflow
        deadline, told = clock.monotonic() + TAKEN_SECONDS_MAX, None
        while run.reloaded is not None and clock.monotonic() < deadline:
            if run.outcome.done() or name not in self._runs:
                raise UnavailableError(f"{name} has ended meanwhile", hint="the next run goes by the file as it is now")
            ref = await self._supervisor.ask("current", name)
            if ref is not None and ref is not told:
                told = ref
                ref.tell("renew")
            await clock.sleep(ASKED_SECONDS)

    def _ending(self, run: _Run, ending: Ending) -> None:
        assert self._supervisor is not None
        if ending.status in ("evolving", "renewed"):
            run.changed = ending.status == "evolving"
            self._supervisor.tell("renew_child", run.plan.workflow)
            return
        run.ending = ending
        self._supervisor.tell("stop_child", run.plan.workflow)

    def _restarting(self, run: _Run, error: BaseException, pause: float) -> None:
        known = told(error, run.plan)
        event: Event = AttemptFailed(run.plan.workflow, run.latest, known.code, str(known), pause)
        run.context.runtime.emit(event)

    async def _job(self, run: _Run) -> Job:
        """Take the next attempt."""
        if (found := run.reloaded) is not None:
            run.reloaded, run.plan, run.context = None, found.plan, found.context
            run.graph, run.written = task_graph(found.plan, found.context.registry), found.written
        context, plan = run.context, run.plan
        checkpoints = CheckpointManager(
            context.store, Codec(), plan.workflow, tenant=context.tenant, retained=plan.settings.checkpoints_retained
        )
        run.attempts += 1
        run.checkpoints = checkpoints
        run.latest = await context.runtime.call(checkpoints.begin_attempt, context.runtime.clock.now())
        changed, run.changed = run.changed, False
        if changed or memory_of(plan):
            plan = await context.runtime.call(partial(evolved, plan, context, checkpoints, changed=changed))
        if plan is not run.plan:
            run.plan, run.graph = plan, task_graph(plan, context.registry)
        if run.first_epoch is None:
            known = await context.runtime.call(checkpoints.proposals)
            run.first_epoch = known[-1].epoch if known else 0
        job = Job(
            plan=plan,
            graph=run.graph,
            registry=context.registry,
            runtime=context.runtime,
            checkpoints=checkpoints,
            attempt=run.latest,
            tenant=context.tenant,
            run=context.run,
            catch_up=context.catch_up,
            replay=context.replay,
            resolve=context.resolve,
        )
        if not coded(plan) or context.replay is not None:
            return job

        def take_in(base: Proposal) -> bool:
            run.reloaded = run.codes.look(job, context, base) or run.reloaded
            return run.reloaded is not None

        return replace(job, take_in=take_in)

    async def _committed(self, run: _Run) -> Proposal | None:
        """Return what a run that failed had committed all the same, if the state can tell."""
        if run.checkpoints is None:
            return None
        try:
            found = await run.context.runtime.call(run.checkpoints.committed)
        except DataFlareError:
            return None  # the failure that ended the run is the one to tell
        return found if found is not None and found.epoch > (run.first_epoch or 0) else None

    def _outcome(self, run: _Run, proposal: Proposal | None, error: DataFlareError | None) -> Outcome:
        ending = run.ending
        status = "failed" if error is not None else ending.status if ending else "stopped"
        elapsed = run.context.runtime.clock.monotonic() - run.began
        totals = dict(proposal.totals) if proposal else {}
        return Outcome(
            status=status,
            epochs=max(0, proposal.epoch - (run.first_epoch or 0)) if proposal else 0,
            attempts=run.attempts,
            elapsed_seconds=elapsed,
            nodes=_rows(run.plan, totals),
            rules={n: told for n, kinds in totals.items() if (told := notes(kinds))},
            metrics={n: counted for n, kinds in totals.items() if (counted := metrics(kinds))},
            edges=_edges(proposal.edges if proposal else {}),
            guarantees=run.plan.guarantees,
            error=error,
            more=bool(ending and ending.more),
            plan=run.written,
        )


def _rows(plan: Plan, totals: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the counts of every node under their public names, `rows_in`, `rows_out` and so on."""
    names = ("in", "out", "filtered", "skipped", "dead", "absorbed", "expanded")
    return {n.id: {f"rows_{k}": totals.get(n.id, {}).get(k, 0) for k in names} for n in plan.topological()}


def _edges(told: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return rows and hash of each edge since the run began."""
    return {edge: {"rows": of["rows_total"], "hash": of["hash_total"]} for edge, of in told.items()}


def _policy(plan: Plan) -> RestartPolicy:
    restart = plan.settings.restart
    return RestartPolicy(
        initial_seconds=float(restart.get("initial", 1.0)),
        maximum_seconds=float(restart.get("max", 60.0)),
        attempts=int(restart.get("attempts", 10)),
        window_seconds=float(restart.get("window", 600.0)),
    )
