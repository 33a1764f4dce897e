"""One attempt at a workflow's life, one file per state: opening, resuming, running, sealing, finishing."""

from dataflare.executor.workflow_actor.actor import WorkflowActor
from dataflare.executor.workflow_actor.life import Ending, Life

__all__ = ["Ending", "Life", "WorkflowActor"]
