"""Whose plugins this machine installs: `trust.toml` names keys and the plugins that each may sign.

A signature that is wrong is refused whatever the policy is. Trust is asked for when a plugin is installed; a package
that a workflow names by its path is the workflow's own, as a script is.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import Finding, InvalidWorkflowError, Place, UnavailableError, WorkflowError
from dataflare.plugin.manifest_text import lines_of
from dataflare.plugin.signature import PublicKey, signer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.plugin.package import Package

CODE = "plugin.trust"
SIGNED, UNSIGNED = "signed", "unsigned"
POLICIES = (SIGNED, UNSIGNED)
_PATTERN = re.compile(r"[a-z0-9*-]{1,64}")
_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key by the name that its owner has here; `plugins` are names of plugins, in which * stands for anything."""

    name: str
    public: PublicKey
    plugins: tuple[str, ...] = ("*",)

    def may_sign(self, plugin: str) -> bool:
        """Tell whether it is trusted with a plugin of this name."""
        return any(fnmatchcase(plugin, pattern) for pattern in self.plugins)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who has signed a package: `key` as text, "" for nobody; `name` of a trusted key, "" for others."""

    key: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What may be installed: `signed` by a key that is trusted with the name, or also `unsigned` and by others."""

    policy: str = SIGNED
    keys: tuple[TrustedKey, ...] = ()

    @classmethod
    def read(cls, path: Path) -> TrustPolicy:
        """Read a file; without one nothing is trusted. Raise InvalidWorkflowError with all that is wrong in it."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_BYTES_MAX + 1)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise UnavailableError(f"it cannot be read: {error.strerror}", place=Place(str(path))) from error
        if mode & stat.S_IWOTH:
            raise UnavailableError(
                "everybody may write into this file", hint=f"chmod o-w {path}", place=Place(str(path))
            )
        try:
            return _Reading(data.decode(), str(path)).policy()
        except UnicodeDecodeError as error:
            raise WorkflowError(f"byte {error.start} is no UTF-8", place=Place(str(path))) from None

    def judge(self, package: Package, *, unsigned: bool = False) -> Signer:
        """Return who has signed a package; raise WorkflowError where it may not be installed.

        `unsigned`: this one may be unsigned or signed by a key that nobody knows here, whatever the policy is.
        """
        key, name = signer_of(package), package.manifest.name
        known = [k for k in self.keys if key is not None and k.public == key]
        trusted = next((k for k in known if k.may_sign(name)), None)
        if trusted is not None:
            return Signer(str(trusted.public), trusted.name)
        if known:
            raise WorkflowError(
                f"the key {known[0].name} has signed it, which is not trusted with plugins named {name}",
                hint=f"it is trusted with: {', '.join(known[0].plugins)}",
                place=Place(package.shown),
            )
        if unsigned or self.policy == UNSIGNED:
            return Signer(str(key) if key is not None else "")
        if key is None:
            raise WorkflowError(
                "the package is not signed",
                hint="have it signed by a key that you trust; or --allow-unsigned, if you know where it comes from",
                place=Place(package.shown),
            )
        raise WorkflowError(
            f"a key has signed it that is not trusted here: {key}",
            hint=f'ask its owner for the key in another way, and name it in trust.toml: [keys.NAME] public = "{key}"',
            place=Place(package.shown),
        )


def usual_trust_file() -> Path:
    """Return where the policy is: `dataflare/trust.toml` in the user's settings."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dataflare" / "trust.toml"


class _Reading:
    """One reading of a text, which collects what is wrong."""

    def __init__(self, text: str, shown: str) -> None:
        self._text, self._shown = text, shown
        self._findings: list[Finding] = []
        self._lines: Mapping[tuple[str, ...], int] = {}

    def policy(self) -> TrustPolicy:
        try:
            data = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise WorkflowError(f"not valid TOML: {error}", place=Place(self._shown)) from None
        self._lines = lines_of(self._text)
        self._known(data, (), ("policy", "keys"))
        policy, keys = data.get("policy", SIGNED), data.get("keys", {})
        if policy not in POLICIES:
            self._say(f"policy must be one of {', '.join(POLICIES)}", ("policy",))
        if not isinstance(keys, dict):
            self._say("keys must be tables, one for each key", ("keys",), "[keys.NAME]")
            keys = {}
        found = [self._key(name, told) for name, told in keys.items()]
        if self._findings:
            raise InvalidWorkflowError(sorted(self._findings, key=lambda f: f.place.line))
        return TrustPolicy(policy, tuple(k for k in found if k is not None))

    def _key(self, name: str, told: Any) -> TrustedKey | None:
        path = ("keys", name)
        if not isinstance(told, dict):
            self._say(f"keys.{name} must be a table", path, f'[keys.{name}] with public = "ed25519:..."')
            return None
        self._known(told, path, ("public", "plugins"))
        plugins, public = told.get("plugins", ["*"]), told.get("public")
        if not isinstance(plugins, list) or not all(isinstance(p, str) and _PATTERN.fullmatch(p) for p in plugins):
            self._say(f"keys.{name}.plugins must be a list of names", (*path, "plugins"), '["price", "shop-*"]')
            return None
        try:
            return TrustedKey(name, PublicKey.of(public if isinstance(public, str) else ""), tuple(plugins))
        except WorkflowError as error:
            self._say(f"keys.{name}.public: {error.what}", (*path, "public"), error.hint)
            return None

    def _known(self, table: Mapping[str, Any], path: tuple[str, ...], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                self._say(f"unknown key {'.'.join((*path, key))}", (*path, key), hint)

    def _say(self, what: str, path: tuple[str, ...], hint: str = "") -> None:
        line = next((n for at in range(len(path), 0, -1) if (n := self._lines.get(path[:at]))), 1)
        self._findings.append(Finding("error", CODE, what, hint, Place(self._shown, line, path=".".join(path))))


__all__ = ["POLICIES", "Signer", "TrustPolicy", "TrustedKey", "usual_trust_file"]
