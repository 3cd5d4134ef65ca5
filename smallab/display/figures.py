"""How far a batch is, in figures and in words: what a bar, a log line and the dashboard show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_UNITS = (("s", 1), ("min", 60), ("h", 3600))


@dataclass(frozen=True)
class Figures:
    """How far one call of ``run`` is with its batch.

    Attributes
    ----------
    pending
        How many specifications the call was to run when it began; None where nobody knows.
    skipped
        How many had completed before; they count among the completed ones in `total` and `text`.
    completed, failed
        How many of the pending ones have ended so far.
    seconds
        How long the call has been running.

    Examples
    --------
    >>> figures = Figures(pending=8, skipped=2, completed=3, failed=1, seconds=2.0)
    >>> figures.total, figures.ended, figures.rate, figures.seconds_left
    (10, 4, 2.0, 2.0)
    >>> figures.text(None)
    '5/10 completed, 1 failed, 2.0/s, took 0:02, 2 skipped'
    """

    pending: int | None
    skipped: int
    completed: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int | None:
        """How many specifications the batch has, the skipped ones included; None where nobody knows."""
        return None if self.pending is None else self.skipped + self.pending

    @property
    def all_completed(self) -> int:
        """How many of the total are completed: in this call or before."""
        return self.skipped + self.completed

    @property
    def ended(self) -> int:
        """How many ended in this call."""
        return self.completed + self.failed

    @property
    def rate(self) -> float | None:
        """Specifications a second, of those that ran in this call; None until one has ended."""
        if self.ended and self.seconds > 0:
            return self.ended / self.seconds
        return None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None until one has ended, or where nobody knows how many there are."""
        if self.rate is None or self.pending is None:
            return None
        return (self.pending - self.ended) * self.seconds / self.ended

    def text(self, now: datetime | None) -> str:
        """Return the figures as one line.

        Parameters
        ----------
        now
            The time, to tell when the end is expected; None says that the end has come.
        """
        total = "" if self.total is None else f"/{self.total}"
        parts = [f"{self.all_completed}{total} completed"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.rate:
            parts.append(per_time(self.rate))
        if now is None:
            parts.append(f"took {duration(self.seconds)}")
        elif self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
            parts.append(f"ends {clock_time(now, self.seconds_left)}")
        elif self.seconds:
            parts.append(f"{duration(self.seconds)} so far")
        if self.skipped:  # at the end, where a narrow terminal cuts it off: it does not change
            parts.append(f"{self.skipped} skipped")
        return ", ".join(parts)


def per_time(rate: float) -> str:
    """Return a rate (per second) in the first unit in which it is at least one, else per day.

    Examples
    --------
    >>> per_time(38 / 60), per_time(2.0), per_time(1 / 864000)
    ('38/min', '2.0/s', '0.1/day')
    """
    for unit, seconds in _UNITS:
        value = rate * seconds
        if value >= 10:
            return f"{value:.0f}/{unit}"
        if value >= 1:
            return f"{value:.1f}/{unit}"
    return f"{rate * 86400:.1f}/day"


def duration(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``, and from 100 hours on as ``d days``.

    Examples
    --------
    >>> duration(75.8), duration(16.5 * 3600), duration(1e6)
    ('1:16', '16:30:00', '11 days')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:  # four days: nobody counts the minutes any more
        return f"{hours // 24} days"
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def clock_time(now: datetime, seconds: float) -> str:
    """Return the time that is some seconds from now, with its date where that is not today's.

    Examples
    --------
    >>> noon = datetime(2026, 11, 21, 12, 0)
    >>> clock_time(noon, 3600), clock_time(noon, 16.5 * 3600)
    ('13:00', '2026-11-22 04:30')
    """
    try:
        end = now + timedelta(seconds=seconds)
    except OverflowError:
        return "never"  # later than the year 9999
    if end.date() == now.date():
        return f"{end:%H:%M}"
    return f"{end:%Y-%m-%d %H:%M}"


def local_time(time: object) -> str:
    """Return a recorded time (ISO 8601, UTC) as the clock on the wall shows it; empty where it is none."""
    try:
        return f"{datetime.fromisoformat(str(time)).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return ""
