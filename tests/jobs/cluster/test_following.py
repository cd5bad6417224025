"""Following a job for hours, on a clock that the test moves; `test_cluster` follows real ones for minutes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jobs.cluster import following
from pipeline.errors import ClusterError


class Jobs:
    """Answers and logs, one for each time that it is asked; an answer may be an error."""

    address = "http://head:8265"

    def __init__(self, answers, logs):
        self._answers, self._logs = iter(answers), iter(logs)

    def get(self, _):
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(is_over=answer == "over")

    async def tail(self, _):
        for piece in next(self._logs):
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, float):
                now[0] += piece
            else:
                yield piece


now = [0.0]


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only logs move."""

    async def at_once(_):
        return None

    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(following.asyncio, "sleep", at_once)


def followed(answers, logs):
    written, notes = [], []
    job = following.follow(Jobs(answers, logs), "a", written.append, notes.append)
    return job, "".join(written), notes


def test_every_piece_is_written_once_over_a_connection_that_breaks():
    broken = RuntimeError("closed")
    job, log, notes = followed(["runs", "runs", "over"], [["ab", "cd", broken], ["abc", "def"], ["abcdef", "g"]])
    assert job.is_over
    assert (log, len(notes)) == ("abcdefg", 1)


def test_a_connection_that_breaks_after_hours_is_made_again():
    hours = 3 * following.AWAY_SECONDS
    _, log, _ = followed(["runs", ConnectionError(), "over"], [[hours, "a", RuntimeError("closed")], ["ab"]])
    assert log == "ab"


def test_a_job_that_is_silent_for_hours_is_followed_on():
    turns = 60
    silent = [[following.QUIET_SECONDS, TimeoutError()]] * turns
    _, log, notes = followed([*["runs"] * turns, "over"], [*silent, ["done"]])
    assert (log, notes) == ("done", [])


def test_a_cluster_that_is_away_for_long_is_given_up():
    away = ConnectionError()
    with pytest.raises(ClusterError, match="out of reach"):
        followed(["runs", away], [["a", following.AWAY_SECONDS + 1.0, RuntimeError("closed")]])
