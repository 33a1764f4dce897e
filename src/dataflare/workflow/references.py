"""Puts `${ENV:-default}` in after parsing, and `${secret:store/key}` only where a component is built.

`$${` is a plain `${`. What comes out of the environment or a store is never printed: values are marked hidden, and
errors name the reference, not what it stands for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import UnavailableError, WorkflowError
from dataflare.workflow.findings import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.workflow.document import Document, Value
    from dataflare.workflow.findings import Findings

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_SECRET = re.compile(r"secret:([A-Za-z_][\w-]*)/(.+)", re.DOTALL)
_FILE_BYTES_MAX = 1 << 20


def substitute(document: Document, environ: Mapping[str, str], findings: Findings) -> None:
    """Put environment variables into every text of the document, in place; a missing one is an error."""
    for path, value in document.root.walk():
        if not isinstance(value.data, str) or "${" not in value.data:
            continue
        place = document.place(path)
        parts: list[str] = []
        end = 0
        for found in _REFERENCE.finditer(value.data):
            parts.append(value.data[end : found.start()])
            end = found.end()
            inside = found[1]
            if inside is None or inside.startswith("secret:"):
                parts.append(found[0])
                continue
            name = _NAME.fullmatch(inside)
            if name is None:
                hint = "write ${NAME}, ${NAME:-default} or ${secret:store/key}; $${ is a plain ${"
                findings.error("reference", f"{found[0]} is not a reference", place, hint)
                _leave(value, parts, found[0])
            elif name[1] in environ:
                parts.append(environ[name[1]].replace("${", "$${"))
                value.hidden = True
            elif name[2] is not None:
                parts.append(name[2])
            else:
                hint = f"set it, or write a default: ${{{name[1]}:-default}}"
                findings.error("missing_environment", f"the environment has no {name[1]}", place, hint)
                _leave(value, parts, found[0])
        parts.append(value.data[end:])
        value.data = "".join(parts)
        value.text = None


def _leave(value: Value, parts: list[str], reference: str) -> None:
    """Let a reference that stands for nothing stand there."""
    parts.append(reference)
    value.unknown = True


def unescape(document: Document) -> None:
    """Turn `$${` into `${` in texts without secrets; those with secrets are unescaped when they are resolved."""
    for _, value in document.root.walk():
        if isinstance(value.data, str) and "$${" in value.data and not has_secret(value.data):
            value.data = value.data.replace("$${", "${")


def has_secret(text: Any) -> bool:
    """Tell whether a text refers to a secret."""
    return isinstance(text, str) and any((m[1] or "").startswith("secret:") for m in _REFERENCE.finditer(text))


def check_secrets(document: Document, stores: Iterable[str], findings: Findings) -> None:
    """Report references to stores that are not declared, and such that name no key."""
    known = list(stores)
    for path, value in document.root.walk():
        if not isinstance(value.data, str) or "${secret:" not in value.data:
            continue
        for found in _REFERENCE.finditer(value.data):
            if not (found[1] or "").startswith("secret:"):
                continue
            parts = _SECRET.fullmatch(found[1])
            if parts is None:
                hint = "write ${secret:store/key}"
                findings.error("reference", f"{found[0]} names no store and key", document.place(path), hint)
            elif parts[1] not in known:
                hint = near(parts[1], known) or f"declare it: secrets: {{{parts[1]}: {{type: env, prefix: APP_}}}}"
                message = f"there is no secret store {parts[1]!r}"
                findings.error("unknown_secret_store", message, document.place(path), hint)


def resolve_secrets(
    config: Mapping[str, Any],
    secrets: Mapping[str, Mapping[str, Any]],
    environ: Mapping[str, str],
    directory: str | Path = ".",
) -> dict[str, Any]:
    """Return the settings with every `${secret:store/key}` replaced; call it as late as possible.

    Stores: `env` (`prefix` + key in the environment), `file` (`path`: a JSON object, or a folder with a file for each
    key). Raises WorkflowError for a store that is not declared, UnavailableError for a secret that is not there; both
    name the reference only.
    """
    stores = _Stores(secrets, environ, Path(directory))
    return {k: stores.put_in(v) for k, v in config.items()}


def secret_references(value: Any) -> set[str]:
    """Return every `${secret:store/key}` in a value of settings, as it stands there."""
    if isinstance(value, dict):
        return {found for inner in value.values() for found in secret_references(inner)}
    if isinstance(value, list | tuple):
        return {found for inner in value for found in secret_references(inner)}
    if not has_secret(value):
        return set()
    return {m[0] for m in _REFERENCE.finditer(value) if (m[1] or "").startswith("secret:")}


class _Stores:
    def __init__(self, secrets: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str], directory: Path) -> None:
        self._secrets, self._environ, self._directory = secrets, environ, directory

    def put_in(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self.put_in(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.put_in(v) for v in value]
        if has_secret(value):
            return _REFERENCE.sub(self._replacement, value)
        return value

    def _replacement(self, found: re.Match[str]) -> str:
        if found[1] is None:
            return "${"
        parts = _SECRET.fullmatch(found[1])
        store = self._secrets.get(parts[1]) if parts else None
        if parts is None or store is None:
            raise WorkflowError(f"{found[0]} names no declared store", hint="declare it under secrets:")
        if store.get("type") == "env":
            name = f"{store.get('prefix', '')}{parts[2]}"
            if name not in self._environ:
                raise UnavailableError(f"the secret {found[0]} is not there", hint=f"set {name} in the environment")
            return self._environ[name]
        return self._from_file(found[0], self._directory / Path(str(store.get("path", ""))).expanduser(), parts[2])

    @staticmethod
    def _from_file(reference: str, path: Path, key: str) -> str:
        try:
            if path.is_dir():
                if Path(key).name != key or key in (".", ".."):
                    raise WorkflowError(f"the secret {reference} has a key that is not a file name")
                return (path / key).read_bytes()[:_FILE_BYTES_MAX].decode().removesuffix("\n")
            found = json.loads(path.read_bytes()[:_FILE_BYTES_MAX])[key]
        except (OSError, ValueError, KeyError, TypeError):
            hint = f"{path.name} must be a folder with a file {key!r}, or a JSON file with that key"
            raise UnavailableError(f"the secret {reference} is not there", hint=hint) from None
        return found if isinstance(found, str) else json.dumps(found)
