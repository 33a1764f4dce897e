"""The real engine on one seeded loop: random schedules, crashes, zombies and time-outs, with the invariants checked."""

from dataflare.testing.simulation.run import Result, simulate
from dataflare.testing.simulation.world import Violation

__all__ = ["Result", "Violation", "simulate"]
