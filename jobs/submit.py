"""``moee submit -- COMMAND…``: any command as a job on a Ray cluster."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, above_zero, parse_pairs, run_command
from pipeline.errors import ClusterError, JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

    from jobs.cluster.client import Job, Jobs
    from jobs.cluster.submission import Submission

__all__ = ["COMMAND", "followed", "job_result", "raise_for"]

TERMINATED: Final = 143
INTERRUPTED: Final = 130
ATTEMPTS: Final = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee submit``."""
    parser.add_argument("--address", help="of the cluster's dashboard (RAY_ADDRESS, else http://127.0.0.1:8265)")
    parser.add_argument("--detach", action="store_true", help="do not follow the job: say its id, and end")
    parser.add_argument("--wheel", metavar="FILE", help="of this package, for machines that do not have it")
    parser.add_argument("--python", default="python", help="the interpreter on the cluster's machines (python)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable for the job")
    parser.add_argument(
        "--start-minutes",
        type=above_zero,
        default=15.0,
        metavar="N",
        help="for which the job may wait for its start (15)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="such as: -- embed s3://…")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Submit, or find the job that runs, and follow it to its end."""
    from jobs.cluster.client import connect, job_address
    from jobs.cluster.submission import Submission

    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        raise UsageError("submit: name a command after --, such as: moee submit -- index s3://bucket/lake/docs")
    submission = Submission(tuple(words), arguments.python, arguments.wheel, parse_pairs(arguments.env, "--env"))
    address = job_address(arguments.address)
    with output.following(f"connecting to {address}"):
        jobs = connect(address)
        job, is_new = _submitted(jobs, submission)
    output.progress.print(f"{'submitted' if is_new else 'attached to'} job {job.id} at {address}", markup=False)
    if arguments.detach:
        output.people.print(job.id, markup=False)
        output.result(job_result(job, is_new=is_new))
        return
    with _left_running(job.id, output):
        _await_start(jobs, job.id, arguments.start_minutes, output)
        job = followed(jobs, job.id, output)
    output.result(job_result(job, is_new=is_new))
    raise_for(job)


def followed(jobs: Jobs, id: str, output: Output) -> Job:  # noqa: A002
    """The job when it is over; its log is shown until then."""
    from jobs.cluster.following import follow

    write = partial(print, end="", file=sys.stderr if output.json else sys.stdout, flush=True)
    return follow(jobs, id, write, lambda line: output.progress.print(line, style="dim"))


def job_result(job: Job, *, is_new: bool | None = None) -> dict[str, Any]:
    """A job as JSON holds it."""
    found = {
        "job": job.id,
        "status": job.status.lower(),
        "exit_status": job.exit_status,
        "command": job.entrypoint,
        "started": job.started,
        "ended": job.ended,
    }
    return found if is_new is None else {**found, "new": is_new}


def raise_for(job: Job) -> None:
    """Raise `JobError`, with the exit status of the command, for a job that did not end well."""
    if job.status == "SUCCEEDED":
        return
    if job.status == "STOPPED":
        raise JobError(f"job {job.id} was stopped; what was committed stays", job.exit_status or TERMINATED)
    if job.exit_status:
        raise JobError(f"job {job.id} ended with status {job.exit_status}", job.exit_status)
    lines = [line for line in job.message.splitlines() if line.strip()] or ["no reason is known"]
    raise JobError(f"job {job.id} failed before its command ended: {lines[0][:500]}")


@contextmanager
def _left_running(id: str, output: Output) -> Generator[None]:  # noqa: A002
    """Whoever stops to follow a job is told how to find it again."""
    try:
        yield
    except KeyboardInterrupt:
        told = f"job {id} goes on: moee jobs logs {id} --follow shows it, moee jobs stop {id} ends it"
        output.progress.print(told, markup=False)
        raise SystemExit(INTERRUPTED) from None


def _submitted(jobs: Jobs, submission: Submission) -> tuple[Job, bool]:
    """The job that runs this command, and whether it is a new one.

    Its id ends with a number that counts its runs. Of two that submit at once, both try the same id, and one is refused
    and finds the job of the other.
    """
    from jobs.cluster.client import JobExistsError
    from jobs.cluster.submission import COMMAND_KEY

    metadata = submission.metadata
    for _ in range(ATTEMPTS):
        known = jobs.list()
        for job in known:
            if not job.is_over and job.metadata.get(COMMAND_KEY) == metadata[COMMAND_KEY]:
                return job, False
        numbers = [job.id.removeprefix(submission.prefix) for job in known if job.id.startswith(submission.prefix)]
        number = 1 + max((int(each) for each in numbers if each.isdecimal()), default=0)
        try:
            id = f"{submission.prefix}{number}"  # noqa: A001
            with submission.modules() as modules:
                environment = {**submission.runtime_env, **modules}
                jobs.submit(id, submission.entrypoint, runtime_env=environment, metadata=metadata)
            return jobs.get(id), True
        except JobExistsError:
            pass
        except ConnectionError:  # it may have arrived
            time.sleep(1)
    raise ClusterError(f"{jobs.address} did not take the job: try again")


def _await_start(jobs: Jobs, id: str, minutes: float, output: Output) -> None:  # noqa: A002
    """Wait until a job has begun; one that does not is taken back."""
    from jobs.cluster.following import wait

    with output.following(f"waiting for {jobs.address} to start the job"):
        job = wait(jobs, id, lambda job: job.status != "PENDING", 60 * minutes)
    if job.status == "PENDING":
        jobs.stop(id)
        raise ClusterError(f"{jobs.address} did not start job {id} within {minutes:g} minutes: is its head busy?")


COMMAND: Final = Command(
    name="submit",
    help="Run a command as a job on a Ray cluster, show its log, and end with its exit status. "
    "Where the same command runs already, that job is followed instead.",
    configure=configure,
    run=run,
    examples=(
        "moee submit -- embed s3://bucket/crawl/ --table s3://bucket/lake/crawl --replicas 4",
        "moee submit --address http://head:8265 --detach -- topics refresh s3://bucket/lake/crawl",
        "moee submit --wheel dist/moee_pipeline-0.1.0-py3-none-any.whl -- index s3://bucket/lake/crawl",
    ),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
