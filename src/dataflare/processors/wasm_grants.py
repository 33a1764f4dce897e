"""The settings of a plugin that grant it files, variables and the clock, and what that means for delivery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dataflare.component import Config, Field, Processor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataflare.plugin.grants import Grants
    from dataflare.schema import Schema

_STATE = ".dataflare"


class FolderGrant(Config):
    """A folder that a plugin may read, or write as well."""

    path: str = Field(description="The folder; relative to the workflow file, and then inside of its folder.")
    at: str = Field(description="What the plugin calls it, such as /rates.")
    write: bool = Field(default=False, description="Whether it may change what is in the folder.")


class GrantsConfig(Config):
    """What a plugin may use besides its rows."""

    files: tuple[FolderGrant, ...] = Field((), description="Folders that the plugin may read or write.")
    env: dict[str, str] = Field(
        {}, repr=False, description="Variables of the environment that the plugin sees; better secret references."
    )
    clock: bool = Field(default=False, description="Whether it is told the time of day, and not that of the epoch.")

    def words(self) -> list[str]:
        """Return what is granted, in words, by the paths that the workflow writes."""
        found = [f"files {f.path} at {f.at}{' (may write)' if f.write else ''}" for f in self.files]
        found += [f"variable {name}" for name in self.env]
        return found + ["the clock"] * self.clock

    def varies(self) -> str:
        """Say what its results hang on besides its rows; "": on nothing."""
        found = ["on files that it is granted"] * bool(self.files) + ["on the time of day"] * self.clock
        return f"runs a plugin whose results may hang {' and '.join(found)}" if found else ""

    def remarks(self) -> Iterator[str]:
        """Tell that what a plugin writes itself is no part of an epoch."""
        written = ", ".join(f.path for f in self.files if f.write)
        if written:
            yield f"its plugin may write files in {written}, which are no part of an epoch: a run that resumes writes \
them again"


class GrantedConfig(Config):
    """Settings of a processor that grants something."""

    grants: GrantsConfig = Field(
        GrantsConfig(), description="Files, variables and the clock that the plugin may use; default: none."
    )


G = TypeVar("G", bound=GrantedConfig)


class GrantedProcessor(Processor[G]):
    """A processor that tells what it grants."""

    def varies(self) -> str:
        """Tell of grants by which equal rows may come out otherwise."""
        return self.given().varies()

    def remarks(self, inputs: Sequence[Schema]) -> Iterable[str]:
        """Tell of files that the plugin may write."""
        del inputs
        return self.given().remarks()

    def granted(self) -> Sequence[str]:
        """Return what the plugin is granted."""
        return self.given().words()

    def given(self) -> GrantsConfig:
        """Return what is granted, by the paths that are written."""
        return self.config.grants

    def grants(self) -> Grants:
        """Return the grants by real paths; raise WorkflowError where one is not for plugins."""
        from dataflare.plugin.compiled import usual_folder
        from dataflare.plugin.grants import GrantedFolder, Grants
        from dataflare.plugin.registry import usual_registry
        from dataflare.plugin.trust import usual_trust_file

        config, context = self.given(), self.context
        files = tuple(GrantedFolder(str(Path(f.path).expanduser()), f.at, f.write) for f in config.files)
        own = context.state_directory or context.directory / _STATE
        closed = (own, usual_folder(), usual_registry().folder, usual_trust_file().parent)
        return Grants.checked(Grants(files, config.env, config.clock), context.directory, closed)


__all__ = ["FolderGrant", "GrantedConfig", "GrantedProcessor", "GrantsConfig"]
