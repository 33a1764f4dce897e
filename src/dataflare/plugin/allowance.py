"""What an install lets a plugin have: folders, variables and the clock, never more than its manifest asks for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import WorkflowError
from dataflare.plugin.grants import GrantedFolder, Grants
from dataflare.plugin.manifest import is_guest_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dataflare.plugin.manifest import Capabilities

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FORMS = "files=FOLDER:/path:ro, files=FOLDER:/path:rw, env=NAME, env=NAME=TEXT or clock"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What was granted at an install. A variable whose text is None has the one that a workflow gives it."""

    files: tuple[GrantedFolder, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    clock: bool = False

    @classmethod
    def of_words(cls, words: Iterable[str]) -> Allowance:
        """Read what follows `--grant`; raise WorkflowError where it grants nothing that there is."""
        files: dict[str, GrantedFolder] = {}
        env: dict[str, str | None] = {}
        clock = False
        for word in words:
            kind, _, rest = word.partition("=")
            if word == "clock":
                clock = True
            elif kind == "files":
                folder = _folder(rest, word)
                if folder.at in files:
                    raise WorkflowError(f"two folders are granted at {folder.at}")
                files[folder.at] = folder
            elif kind == "env" and _VARIABLE.fullmatch(rest.partition("=")[0]):
                name, told, text = rest.partition("=")
                env[name] = text if told else None
            else:
                raise WorkflowError(f"{word!r} cannot be granted", hint=f"write {_FORMS}")
        return cls(tuple(files.values()), env, clock)

    @classmethod
    def of_json(cls, value: Any) -> Allowance:
        """Read what `as_json` has written; raise ValueError where it is something else."""
        if not isinstance(value, dict) or value.keys() != {"files", "env", "clock"}:
            raise ValueError("an allowance has files, env and clock")
        files, env, clock = value["files"], value["env"], value["clock"]
        if not isinstance(files, list) or not isinstance(env, dict) or not isinstance(clock, bool):
            raise ValueError("an allowance has a list of files, a map of env, and clock is true or false")  # noqa: TRY004 - one error for all
        folders = []
        for one in files:
            good = isinstance(one, dict) and one.keys() == {"path", "at", "write"} and isinstance(one["write"], bool)
            if not good or not all(isinstance(one[n], str) for n in ("path", "at")) or not is_guest_folder(one["at"]):
                raise ValueError("a folder has path, at and write")
            folders.append(GrantedFolder(one["path"], one["at"], one["write"]))
        if not all(_VARIABLE.fullmatch(n) and (t is None or isinstance(t, str)) for n, t in env.items()):
            raise ValueError("env has names and texts")
        return cls(tuple(folders), env, clock)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "files": [{"path": f.path, "at": f.at, "write": f.write} for f in self.files],
            "env": dict(self.env),
            "clock": self.clock,
        }

    @classmethod
    def of_grants(cls, grants: Grants) -> Allowance:
        """Return what allows just these grants."""
        return cls(grants.files, dict(grants.env), grants.clock)

    def grants(self) -> Grants:
        """Return all of it, but for variables that have no text yet."""
        return Grants(self.files, {n: text for n, text in self.env.items() if text is not None}, self.clock)

    def exceeded(self, grants: Grants) -> list[str]:
        """Return what of the grants, which have real paths, is not allowed, in words."""
        found = [f"{f.path} at {f.at}{' to be written' if f.write else ''}" for f in grants.files if not self._has(f)]
        for name, text in grants.env.items():
            allowed = self.env.get(name, "")
            if name not in self.env or (allowed is not None and allowed != text):
                found.append(f"env {name}{' with this text' if name in self.env else ''}")
        return [*found, *(["clock"] if grants.clock and not self.clock else [])]

    def _has(self, folder: GrantedFolder) -> bool:
        return any(
            folder.at == f.at and Path(folder.path).is_relative_to(f.path) and (f.write or not folder.write)
            for f in self.files
        )

    def missing(self, asked: Capabilities) -> list[str]:
        """Return what is asked for and was not granted, each as it is written after `--grant`."""
        there = {f.at: f for f in self.files}
        found = [
            f"files=FOLDER:{f.path}:{'rw' if f.write else 'ro'}"
            for f in asked.files
            if f.path not in there or (f.write and not there[f.path].write)
        ]
        found += [f"env={name}" for name in asked.env if name not in self.env]
        return [*found, *(["clock"] if asked.clock and not self.clock else [])]

    def beyond(self, asked: Capabilities) -> list[str]:
        """Return what was granted and is not asked for, in words."""
        wanted = {f.path: f for f in asked.files}
        found = [f"files at {f.at}" for f in self.files if f.at not in wanted]
        found += [f"writing at {f.at}" for f in self.files if f.at in wanted and f.write and not wanted[f.at].write]
        found += [f"env {name}" for name in self.env if name not in asked.env]
        return [*found, *(["clock"] if self.clock and not asked.clock else [])]


NOTHING = Allowance()


def _folder(text: str, word: str) -> GrantedFolder:
    rest, write = text, False
    for ending in (":ro", ":rw"):
        if text.endswith(ending):
            rest, write = text.removesuffix(ending), ending == ":rw"
    path, _, at = rest.rpartition(":")
    if not path or not is_guest_folder(at):
        raise WorkflowError(f"{word!r} cannot be granted", hint=f"write {_FORMS}")
    real = Path(os.path.realpath(path))
    if not real.is_dir():
        raise WorkflowError(f"{word!r} cannot be granted: there is no folder {path}")
    return GrantedFolder(str(real), at, write)


__all__ = ["NOTHING", "Allowance"]
