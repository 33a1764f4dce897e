"""Keys that belong into the config of a node, or out of it: they are told, and taken for what they mean there.

So they do not come again as keys that are missing where they belong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.workflow.document import Value

if TYPE_CHECKING:
    from collections.abc import Collection

    from dataflare.workflow.document import Document, Path
    from dataflare.workflow.findings import Findings

INSIDE, BESIDE = "put it inside config", "put it beside config, not inside"
EITHER = frozenset({"key", "type", "config"})
"""Words of a node that may have a meaning of their own inside of its config."""


def move(document: Document, path: Path, words: Collection[str], settings: Collection[str], findings: Findings) -> bool:
    """Bring keys of the node at `path` where they belong; tell whether there were any that did not stand there.

    `words` are those of the node, `settings` those of its component. What is there twice stays, to be told as unknown.
    """
    node = document.at(path)
    if node is None or not node.map:
        return False
    config = node.map.get("config") or Value({}, node.mark, node.key_mark)
    if not isinstance(config.data, dict):
        return False
    into = [k for k in node.map if k not in words and k in settings and k not in config.map]
    out = [k for k in config.map if k in words and k not in (*settings, *EITHER) and k not in node.map]
    for keys, hint, at in ((into, INSIDE, path), (out, BESIDE, (*path, "config"))):
        for key in keys:
            findings.error("unknown_key", f"unknown key {key!r}", document.place((*at, key), key=True), hint)
    for key in into:
        config.map[key] = node.map.pop(key)
    for key in out:
        node.map[key] = config.map.pop(key)
    if into:
        node.map["config"] = config
    return bool(into or out)
