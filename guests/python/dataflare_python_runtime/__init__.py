"""Tells where the component is in which DataFlare runs plugins in Python."""

from pathlib import Path

PATH = Path(__file__).with_name("python.wasm.xz")

__all__ = ["PATH"]
