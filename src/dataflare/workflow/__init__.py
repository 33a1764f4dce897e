"""From workflow text to plan: read the document, say everything that is wrong with it, freeze the plan."""

from dataflare.workflow.description import describe
from dataflare.workflow.loading import LEVELS, Loaded, Written, importable, load, plan_or_raise
from dataflare.workflow.model import WorkflowText
from dataflare.workflow.picture import picture
from dataflare.workflow.references import resolve_secrets, secret_references
from dataflare.workflow.replanning import Replanning

__all__ = [
    "LEVELS",
    "Loaded",
    "Replanning",
    "WorkflowText",
    "Written",
    "describe",
    "importable",
    "load",
    "picture",
    "plan_or_raise",
    "resolve_secrets",
    "secret_references",
]
