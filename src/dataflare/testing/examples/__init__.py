"""The tests of a workflow file: rows in, through the real engine, rows expected; no source or destination is opened."""

from dataflare.testing.examples.results import Failure, Result
from dataflare.testing.examples.running import run_suite
from dataflare.testing.examples.suite import Suite, find_suites, suite_from, suite_of

__all__ = ["Failure", "Result", "Suite", "find_suites", "run_suite", "suite_from", "suite_of"]
