"""When runs are due: the rules of `schedule` in a workflow file, pure: an instant goes in, the next one comes out.

Instants are microseconds since 1970 in UTC. Nothing here asks the clock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import tzinfo

MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_TEXT = len("2026-01-01")
MISSED_MAX = 100
"""So many runs at most are made up for, the newest, where `missed` is `all`."""
QUEUE_MAX = 16
LOOK_BACK = 60 * MICROSECONDS
TIMED = ("cron", "interval", "once")
EVENTS = ("files", "event", "after", "webhook")
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
EXPRESSION_LENGTH_MAX = 256
TIMING = ("type", "expression", "interval", "align", "timezone", "start_date", "end_date")
"""What changes the instants themselves: a change of these begins the schedule anew."""


class Wrong(NamedTuple):
    """What is wrong with a setting of the schedule, and the cure."""

    setting: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a run that failed is tried again, and after how long: `initial`, doubled each time, up to `maximum`."""

    attempts: int = 0
    initial_seconds: float = 10.0
    maximum_seconds: float = 600.0

    def pause(self, tries: int) -> float:
        """Return the wait after so many tries (from 1)."""
        return float(min(self.maximum_seconds, self.initial_seconds * 2.0 ** min(tries - 1, 30)))


@dataclass(frozen=True, slots=True)
class After:
    """Another workflow of the same state, and how its run must have ended: `succeeded`, `failed` or `ended`."""

    workflow: str
    when: str = "succeeded"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A path at which each call asks for a run; `path` is empty where it is the id of the workflow.

    `key_header` names the header that tells calls apart. `auth` says who may call, as it is written: secrets are
    references.
    """

    path: str = ""
    key_header: str = "Idempotency-Key"
    body_bytes_max: int = 1 << 20
    auth: Mapping[str, Any] | None = field(default=None, repr=False)

    def path_of(self, workflow: str) -> str:
        """Return the path at which a workflow is called."""
        return self.path or f"/{workflow}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The `schedule` of a workflow, checked. `of` makes one; `next` and `latest` tell its instants."""

    type: str
    expression: str = ""
    interval: int = 0
    align: str = "clock"
    zone: tzinfo = UTC
    start: int | None = None
    end: int | None = None
    jitter: int = 0
    overlap: str = "skip"
    queue_max: int = QUEUE_MAX
    missed: str = "one"
    missed_max: int = MISSED_MAX
    deadline_seconds: float | None = None
    retries: Retries = Retries()
    retain: int = 100
    files: str = ""
    settle_seconds: float = 2.0
    event: str = ""
    after: After | None = None
    webhook: Webhook | None = None
    timing: str = ""

    @classmethod
    def of(cls, text: Mapping[str, Any]) -> Schedule:
        """Read what the plan keeps of the block `schedule`; raise WorkflowError for what `faults` finds."""
        for wrong in faults(text):
            raise WorkflowError(f"schedule.{wrong.setting}: {wrong.message}", hint=wrong.hint)
        zone = _zone(text.get("timezone", "UTC"))
        retries, after = text.get("retries") or {}, text.get("after")
        return cls(
            type=text["type"],
            expression=text.get("expression", ""),
            interval=round(float(text.get("interval") or 0) * MICROSECONDS),
            align=text.get("align", "clock"),
            zone=zone,
            start=_instant(text["start_date"], zone) if text.get("start_date") else None,
            end=_instant(text["end_date"], zone, whole_day=True) if text.get("end_date") else None,
            jitter=round(float(text.get("jitter") or 0) * MICROSECONDS),
            overlap=text.get("overlap", "skip"),
            queue_max=text.get("queue_max", QUEUE_MAX),
            missed=text.get("missed", "one"),
            missed_max=text.get("missed_max", MISSED_MAX),
            deadline_seconds=text.get("deadline"),
            retries=Retries(
                retries.get("attempts", 0), float(retries.get("initial", 10.0)), float(retries.get("max", 600.0))
            ),
            retain=text.get("retain", 100),
            files=text.get("files", ""),
            settle_seconds=float(text.get("settle", 2.0)),
            event=text.get("event", ""),
            after=After(after["workflow"], after.get("when", "succeeded")) if after else None,
            webhook=Webhook(**text["webhook"]) if text.get("webhook") is not None else None,
            timing="|".join(str(text.get(key, "")) for key in TIMING),
        )

    @property
    def timed(self) -> bool:
        """Whether the clock starts runs; else events do."""
        return self.type in TIMED

    def instants(self, after: int, anchor: int) -> Iterator[int]:
        """Yield the planned instants later than `after`, in order, within the dates.

        `anchor` is when the schedule was taken up: intervals with `align: start` are counted from it, and `once`
        without a date is due then.
        """
        floor = max(after, self.start - 1) if self.start is not None else after
        for instant in self._unbounded(floor, anchor):
            if self.end is not None and instant > self.end:
                return
            yield instant

    def next(self, after: int, anchor: int) -> int | None:
        """Return the first planned instant later than `after`; None where there is none."""
        return next(self.instants(after, anchor), None)

    def latest(self, after: int, until: int, count: int, anchor: int) -> tuple[list[int], bool]:
        """Return the newest `count` instants in (`after`, `until`], oldest first, and whether there were more.

        Takes no longer for a century than for an hour: it looks at the end of the span first, ever further back.
        """
        span = LOOK_BACK
        while True:
            since = max(after, until - span)
            found: list[int] = []
            for instant in self.instants(since, anchor):
                if instant > until:
                    break
                found.append(instant)
            if len(found) > count or since == after:
                return found[-count:], len(found) > count
            span *= 4

    def lead(self, workflow: str, instant: int, anchor: int) -> int:
        """Return by how much the start of a planned run is put off: the same for the same run, whoever asks.

        It is spread over `jitter`, and never reaches the next instant.
        """
        if not self.jitter:
            return 0
        following = self.next(instant, anchor)
        room = self.jitter if following is None else min(self.jitter, following - instant)
        digest = hashlib.sha256(f"{workflow}|{instant}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % max(1, room)

    def _unbounded(self, after: int, anchor: int) -> Iterator[int]:
        if self.type == "cron":
            yield from cron_instants(self.expression, self.zone, after)
        elif self.type == "interval":
            base = anchor if self.align == "start" else self.start or 0
            number = max(0, (after - base) // self.interval + 1)
            while True:
                yield base + number * self.interval
                number += 1
        elif self.type == "once":
            instant = self.start if self.start is not None else anchor
            if instant > after:
                yield instant


def cron_instants(expression: str, zone: tzinfo, after: int) -> Iterator[int]:
    """Yield the instants of a cron expression later than `after`.

    Clocks that are put forward or back: as Debian's cron does. See docs/scheduling.md.
    """
    from cronsim import CronSim

    last = after
    for moment in CronSim(_spelled(expression), moment_of(after, zone)):
        instant = instant_of(moment)
        if instant > last:
            last = instant
            yield instant


def faults(text: Mapping[str, Any]) -> list[Wrong]:
    """Return everything that is wrong with a block `schedule` whose words are known, in the order of its settings."""
    found: list[Wrong] = []
    kind = text.get("type", "")
    if kind == "cron":
        found += _cron_faults(str(text.get("expression", "")))
    if kind == "interval" and not text.get("interval"):
        found.append(Wrong("type", "an interval schedule needs interval", "write interval: 15m"))
    if kind == "event" and not any(text.get(name) not in (None, "") for name in EVENTS):
        cure = "write files: 'in/*.csv', event: NAME, after: {workflow: NAME}, or webhook: {path: /NAME}"
        found.append(Wrong("type", "an event schedule needs files, event, after or webhook", cure))
    owners = {"expression": "cron", "interval": "interval", "align": "interval"}
    owners |= dict.fromkeys((*EVENTS, "settle"), "event")
    for name, owner in owners.items():
        if kind != owner and text.get(name) not in (None, "", "clock"):
            found.append(Wrong(name, f"is a setting of {owner} schedules, this one is {kind}", f"write type: {owner}"))
    return found + _date_faults(text)


def _date_faults(text: Mapping[str, Any]) -> list[Wrong]:
    found: list[Wrong] = []
    zone: tzinfo = UTC
    try:
        zone = _zone(text.get("timezone", "UTC"))
    except (LookupError, ValueError, OSError):
        hint = "write one such as Europe/Oslo; where no zone at all is known, install the package tzdata"
        found.append(Wrong("timezone", f"there is no time zone {text['timezone']!r}", hint))
    dates: dict[str, int] = {}
    for name in ("start_date", "end_date"):
        try:
            if text.get(name):
                dates[name] = _instant(text[name], zone, whole_day=name == "end_date")
        except (ValueError, OverflowError):
            hint = "write 2026-01-31, 2026-01-31T08:00 or 2026-01-31T08:00+01:00"
            found.append(Wrong(name, "is not a date or a time", hint))
    if len(dates) > 1 and dates["end_date"] < dates["start_date"]:
        found.append(Wrong("end_date", "lies before start_date"))
    return found


def _cron_faults(expression: str) -> list[Wrong]:
    from cronsim import CronSim, CronSimError

    hint = "five fields: minute hour day month weekday, such as 30 2 * * mon-fri; or six, with seconds"
    if not expression:
        return [Wrong("type", "a cron schedule needs expression", hint)]
    if len(expression) > EXPRESSION_LENGTH_MAX:
        return [Wrong("expression", f"is longer than {EXPRESSION_LENGTH_MAX} characters", hint)]
    try:
        found = list(islice(CronSim(_spelled(expression), EPOCH), 1))
    except CronSimError as error:
        return [Wrong("expression", f"is not a cron expression: {str(error).lower()}", hint)]
    return [] if found else [Wrong("expression", "never comes", hint)]


def _spelled(expression: str) -> str:
    return MACROS.get(expression.strip().lower(), expression)


def moment_of(instant: int, zone: tzinfo = UTC) -> datetime:
    """Return an instant as a date and time in a zone."""
    return (EPOCH + timedelta(microseconds=instant)).astimezone(zone)


def instant_of(moment: datetime) -> int:
    """Return a date and time with a zone as an instant."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def text_of(instant: int, zone: tzinfo = UTC) -> str:
    """Write an instant as text, such as `2026-01-31T02:00:00Z`; fractions of a second where there are any."""
    return moment_of(instant, zone).isoformat().replace("+00:00", "Z")


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _instant(text: str, zone: tzinfo, *, whole_day: bool = False) -> int:
    """Read a date or a time, in the zone unless it has its own; `whole_day`: a date alone means the end of that day."""
    moment = datetime.fromisoformat(text)
    if whole_day and len(text) == DAY_TEXT:
        moment += timedelta(days=1, microseconds=-1)
    return instant_of(moment if moment.tzinfo else moment.replace(tzinfo=zone))
