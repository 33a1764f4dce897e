"""Something that is drawn on a terminal again and again, as long as it lasts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

FRAMES_PER_SECOND = 8


class LiveView(ABC):
    """Draws inside a `with` block and leaves no trace. On a stream that is no terminal it draws nothing."""

    def __init__(self, stream: TextIO) -> None:
        """Draw on this stream."""
        self._stream = stream
        self._console: Console | None = None
        self._live: Live | None = None

    @abstractmethod
    def render(self) -> RenderableType:
        """Return the picture of this moment."""

    @property
    def drawn(self) -> bool:
        """Whether it is being drawn now."""
        return self._live is not None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if not self._stream.isatty():
            return self
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self._stream, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe the view away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print a line that stays, above the view while there is one."""
        if self._console is not None:
            self._console.print(text, markup=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()


__all__ = ["LiveView"]
