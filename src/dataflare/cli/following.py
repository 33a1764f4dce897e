"""Follows a folder of workflows: files that come, change and go while its workflows are kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError
from dataflare.monitoring.events import Noticed, WorkflowFollowed
from dataflare.workflow.folder import FILES_MAX, may_be_one, reads_like_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dataflare.cli.members import Draft, Entry, Members
    from dataflare.component import Runtime
    from dataflare.operate.scheduler import Scheduler

LOOK_SECONDS = 1.0
AGAIN = ("failed", "stopped")
"""A workflow without a schedule whose last run ended so may go on when its file was corrected."""

Stamp = tuple[int, int, int]


class FolderWatch:
    """Sees files come, change and go; it counts when nothing more has happened to them from one look to the next."""

    def __init__(self, folder: Path) -> None:
        """Know what is there now."""
        self._folder = folder
        self._told = self._before = self._stamps()

    def look(self) -> tuple[list[Path], list[Path]]:
        """Return the files that came or changed, and those that went, by name; raise OSError where it cannot look."""
        before, self._before = self._before, self._stamps()
        now, told = self._before, self._told
        changed = [name for name, stamp in now.items() if told.get(name) != stamp and before.get(name) == stamp]
        gone = [name for name in told if name not in now and name not in before]
        self._told = {n: s for n, s in told.items() if n not in gone} | {name: now[name] for name in changed}
        return [self._folder / name for name in sorted(changed)], [self._folder / name for name in sorted(gone)]

    def again(self, paths: Iterable[Path]) -> None:
        """Tell of these files once more."""
        names = {path.name for path in paths}
        self._told = {name: stamp for name, stamp in self._told.items() if name not in names}

    def _stamps(self) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not may_be_one(entry.name) or len(found) >= FILES_MAX:
                    continue
                try:
                    facts = entry.stat()
                except OSError:
                    continue  # it went meanwhile
                found[entry.name] = facts.st_mtime_ns, facts.st_size, facts.st_ino
        return found


class Follower:
    """Lets changes of a folder count for its scheduler; on the event loop of that one."""

    def __init__(self, watch: FolderWatch, members: Members, scheduler: Scheduler, *, restart: bool) -> None:
        """Follow what `watch` sees; with `restart`, endless runs of a file that has changed go on with the new one."""
        self._watch, self._members, self._scheduler, self._restart = watch, members, scheduler, restart
        self._said: dict[Path, str] = {}
        self._blind = ""
        self.wrong: dict[Path, DataFlareError] = {}
        """Why files are left out, or the last change of them."""

    async def follow(self, runtime: Runtime, say: Callable[[DataFlareError], None]) -> None:
        """Look each second, for ever; `say` is given what is wrong with a file, once."""
        while True:
            await runtime.clock.sleep(LOOK_SECONDS)
            await self.look(runtime, say)

    async def look(self, runtime: Runtime, say: Callable[[DataFlareError], None]) -> None:
        """Look once."""
        try:
            changed, gone = await runtime.call(self._watch.look)
        except OSError as error:  # all stay as they are
            if self._blind != str(error):
                runtime.emit(Noticed("", "folder.unreadable", f"the folder cannot be looked at: {error.strerror}"))
            self._blind = str(error)
            return
        self._blind = ""
        for path in changed:
            try:
                draft = await runtime.call(self._read, path)
                if draft is not None:
                    self._take(draft, runtime)
            except DataFlareError as error:
                self._refuse(path, error, runtime, say)
            else:
                self.wrong.pop(path, None)
                self._said.pop(path, None)
        for path in gone:
            self.wrong.pop(path, None)
            entry = self._members.at(path)
            if entry is not None:
                self._remove(entry, runtime, f"{path.name} is gone")

    def _read(self, path: Path) -> Draft | None:
        """Read a file; None where it is no workflow, and never was."""
        if self._members.at(path) is None and path not in self.wrong:
            try:
                if not reads_like_one(path.read_bytes()):
                    return None
            except FileNotFoundError:
                return None
            except OSError:
                pass  # whoever reads it now says why it cannot be read
        return self._members.read(path, level="plan")

    def _refuse(
        self, path: Path, error: DataFlareError, runtime: Runtime, say: Callable[[DataFlareError], None]
    ) -> None:
        self.wrong[path] = error
        text = f"{error} {getattr(error, 'findings', '')}"
        if self._said.get(path) == text:
            return
        self._said[path] = text
        say(error)
        entry = self._members.at(path)
        if entry is not None:
            message = f"{path.name} is wrong; what it was before counts until it is corrected"
            runtime.emit(Noticed(entry.draft.workflow, "workflow.former", message))

    def _take(self, draft: Draft, runtime: Runtime) -> None:
        """Let a version of a file count; raise WorkflowError where it cannot stand beside the others."""
        members = self._members
        members.check(draft)
        held, entry = members.at(draft.path), members.entries.get(draft.workflow)
        if held is not None and held is not entry:
            self._remove(held, runtime, f"{draft.path.name} holds {draft.workflow} now")
        if entry is None:
            self._scheduler.add(members.member(members.add(draft)))
            runtime.emit(WorkflowFollowed(draft.workflow, "added", f"is taken up from {draft.path.name}"))
            return
        before, entry.draft = entry.draft, draft
        if before.version.text == draft.version.text:
            return
        how = self._changed(entry, before)
        runtime.emit(WorkflowFollowed(draft.workflow, "changed", f"{draft.path.name} has changed: {how}"))

    def _changed(self, entry: Entry, before: Draft) -> str:
        """Let another version of a workflow count; return from when on it does."""
        draft, scheduler = entry.draft, self._scheduler
        member, moved = self._members.member(entry), before.state != entry.draft.state
        if draft.schedule is None:
            if before.schedule is None:
                return self._changed_endless(entry, moved=moved)
            scheduler.remove(draft.workflow)
            entry.kept = False
            return "it has no schedule any more, and is run when this process is started anew"
        if before.schedule is not None and not moved:
            scheduler.change(member)
            return "it counts from the next run on"
        endless = before.schedule is None and entry.kept
        scheduler.add(member, at_once=self._restart or not endless)
        entry.kept = True
        return "it counts when no run from before goes on any more"

    def _changed_endless(self, entry: Entry, *, moved: bool) -> str:
        draft, scheduler = entry.draft, self._scheduler
        standing = next((s for s in scheduler.standings if s.workflow == draft.workflow), None)
        status = standing.record.status if standing is not None and standing.record is not None else ""
        if standing is None or (standing.status == "ended" and status not in AGAIN):
            return "it has ended, and is run when this process is started anew"
        if self._restart:
            if moved:
                scheduler.add(self._members.member(entry))
            else:
                scheduler.repeat(draft.workflow)
            return "it goes on with the new version from its last checkpoint"
        if standing.status == "running":
            return "the run that is under way goes on as it was, unless --restart-changed is given"
        return "it is run when this process is started anew; with --restart-changed at once"

    def _remove(self, entry: Entry, runtime: Runtime, why: str) -> None:
        workflow = entry.draft.workflow
        del self._members.entries[workflow]
        if entry.kept:
            self._scheduler.remove(workflow)
        runtime.emit(WorkflowFollowed(workflow, "removed", f"is kept no more: {why}"))
        self._watch.again(self.wrong)  # one of them may have had to make way for it


__all__ = ["FolderWatch", "Follower"]
