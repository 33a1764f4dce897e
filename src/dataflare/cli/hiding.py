"""A plan as it is shown: without the passwords that a workflow file spells out instead of naming a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dataflare.security.secrets import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):(?!\$\{)[^/@\s]+(?=@)")
_NAMES = re.compile(
    r"(^|_)(password|passwd|passphrase|token|secret|secret_key|secret_access_key|api_key|access_key_id)$",
    re.IGNORECASE,
)
_REFERENCE = "${secret:"


def without_passwords(value: Any, name: str = "") -> Any:
    """Return a JSON value in which passwords are hidden; references to secrets stay as they are."""
    if isinstance(value, dict):
        is_key = value.get("type") == "api_key"
        return {k: without_passwords(v, "api_key" if is_key and k == "value" else str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [without_passwords(inner, name) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    if _NAMES.search(name) and _REFERENCE not in value:
        return HIDDEN
    return _IN_URL.sub(rf"\1:{HIDDEN}", value)


def shown_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as JSON with the settings of its nodes so."""
    return {**plan, "nodes": [{**n, "config": without_passwords(n.get("config", {}))} for n in plan["nodes"]]}


__all__ = ["shown_plan", "without_passwords"]
