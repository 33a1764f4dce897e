"""What all tests share: a skip is news, and with DATAFLARE_STRICT_SKIPS=1 a skip that nobody expects is a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".cache" / "xdg")  # plugins are compiled once for all

EXPECTED = Path(__file__).with_name("expected_skips.txt")


class SkipWatch:
    """Remembers every test that skipped; `expected` are node ids, or their beginnings, that may."""

    def __init__(self, expected: list[str], *, strict: bool) -> None:
        self._expected, self._strict = tuple(expected), strict
        self.unexpected: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._strict and self.unexpected and session.exitstatus in (0, 5):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unexpected or not self._strict:
            return
        terminalreporter.section("skips that nobody expects", red=True)
        for test, reason in sorted(self.unexpected.items()):
            terminalreporter.line(f"{test}: {reason}")
        terminalreporter.line(f"cure: make them run, or list them with the reason in tests/{EXPECTED.name}")

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.nodeid.startswith(self._expected):
            place = report.longrepr
            self.unexpected[report.nodeid] = place[2] if isinstance(place, tuple) else str(place)


def expected_skips(text: str) -> list[str]:
    """Return the node ids of the list, without comments and empty lines."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # the process that gathers the workers' reports watches for all of them
    strict = os.environ.get("DATAFLARE_STRICT_SKIPS") == "1"
    config.pluginmanager.register(SkipWatch(expected_skips(EXPECTED.read_text()), strict=strict), "skip-watch")
