"""``moee jobs``: what runs on a Ray cluster, what it says, and how it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, command_group, printable, run_command
from jobs.submit import followed, job_result, raise_for
from pipeline.errors import ClusterError, UsageError

if TYPE_CHECKING:
    import argparse

    from jobs.cluster.client import Job, Jobs

__all__ = ["COMMAND"]


def _address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", help="of the cluster's dashboard (RAY_ADDRESS, else http://127.0.0.1:8265)")


def _one_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="its id, or the beginning of it")
    _address(parser)


def _configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also jobs that moee submit did not submit")
    _address(parser)


def _configure_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="until the job is over, and end with its exit status")
    _one_job(parser)


def _configure_stop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-wait", action="store_true", help="do not wait for its end")
    _one_job(parser)


def _connected(arguments: argparse.Namespace, output: Output) -> Jobs:
    from jobs.cluster.client import connect, job_address

    address = job_address(arguments.address)
    with output.following(f"connecting to {address}"):
        return connect(address, seconds=10)


def _found(jobs: Jobs, beginning: str) -> Job:
    """The job whose id begins so; the newest where its number was left out."""
    known = jobs.list()
    for job in known:
        if job.id == beginning:
            return job
    found = [job for job in known if job.id.startswith(beginning)]
    if not found:
        raise ClusterError(f"{jobs.address} knows no job {beginning!r}; moee jobs list --all shows all")
    if len({job.id.rpartition("-")[0] for job in found}) > 1:
        raise UsageError(f"{beginning!r} begins the ids of several jobs: {', '.join(job.id for job in found[-5:])}")
    return found[-1]


def _list(arguments: argparse.Namespace, output: Output) -> None:
    from jobs.cluster.submission import COMMAND_KEY

    known = _connected(arguments, output).list()
    shown = [job for job in known if arguments.all or COMMAND_KEY in job.metadata]
    if shown:
        wide = max(len(job.id) for job in shown)
        for job in shown:
            line = f"{job.id:{wide}}  {_status(job):14}  {_when(job):19}  {_took(job):>8}  {_command(job)}"
            output.people.print(printable(line), markup=False)
    else:
        output.people.print("no jobs")
    output.result({"jobs": [job_result(job) for job in shown]})


def _logs(arguments: argparse.Namespace, output: Output) -> None:
    jobs = _connected(arguments, output)
    job = _found(jobs, arguments.job)
    if not arguments.follow:
        print(jobs.log(job.id), end="", file=sys.stderr if output.json else sys.stdout)
        output.result(job_result(job))
        return
    job = followed(jobs, job.id, output)
    output.result(job_result(job))
    raise_for(job)


def _stop(arguments: argparse.Namespace, output: Output) -> None:
    from jobs.cluster.following import wait
    from jobs.cluster.submission import STOP_SECONDS

    jobs = _connected(arguments, output)
    job = _found(jobs, arguments.job)
    if job.is_over:
        output.people.print(f"job {job.id} was over: {_status(job)}", markup=False)
        output.result(job_result(job))
        return
    jobs.stop(job.id)
    if not arguments.no_wait:
        with output.following(f"waiting for job {job.id} to end"):
            job = wait(jobs, job.id, lambda job: job.is_over, STOP_SECONDS + 30)
        if not job.is_over:
            raise ClusterError(f"job {job.id} has not ended after {STOP_SECONDS} s: is its machine gone?")
    told = "is asked to end" if arguments.no_wait else f"{_status(job)}; what was committed stays"
    output.people.print(f"job {job.id} {told}", markup=False)
    output.result(job_result(job))


def _show(arguments: argparse.Namespace, output: Output) -> None:
    job = _found(_connected(arguments, output), arguments.job)
    facts = {
        "job": job.id,
        "status": _status(job),
        "command": _command(job),
        "entrypoint": job.entrypoint,
        "started": _when(job),
        "took": _took(job),
        "moee": job.metadata.get("moee_version", ""),
    }
    for name, value in facts.items():
        output.people.print(f"{name:11}{printable(value)}", markup=False)
    if job.message and job.status == "FAILED":
        output.people.print(f"{'message':11}{printable(job.message.strip().splitlines()[0])}", markup=False)
    output.result({**job_result(job), "message": job.message, "metadata": dict(job.metadata)})


def _status(job: Job) -> str:
    status = job.status.lower()
    return f"{status} ({job.exit_status})" if job.is_over and job.exit_status else status


def _when(job: Job) -> str:
    return "" if job.started is None else f"{job.started.astimezone():%Y-%m-%d %H:%M:%S}"


def _took(job: Job) -> str:
    if job.seconds is None:
        return ""
    minutes, seconds = divmod(round(job.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _command(job: Job) -> str:
    """What was asked for, without the interpreter before it."""
    return job.entrypoint.partition(" -m jobs.cli ")[2] or job.entrypoint


COMMAND: Final = command_group(
    "jobs",
    "The jobs of a Ray cluster. A job has an id that moee submit prints; its beginning is enough.",
    (
        Command("list", "List the jobs, oldest first.", _configure_list, _list),
        Command(
            "logs", "Show what a job has written.", _configure_logs, _logs, ("moee jobs logs embed-docs --follow",)
        ),
        Command("stop", "End a job; it has two minutes to commit what it has.", _configure_stop, _stop),
        Command("show", "Show what is known of a job.", _one_job, _show),
    ),
    ("moee jobs list", "moee jobs stop embed-crawl-1f0c2a9b-3 --address http://head:8265"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
