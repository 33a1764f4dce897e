"""Workflows that a Python program builds, checks, runs and looks into: what a file would say, without the file."""

from dataflare.program.workflow import Node, Port, Workflow

__all__ = ["Node", "Port", "Workflow"]
