"""One module a command: ``python -m jobs.embed …`` under ``ray job submit``, ``moee embed …`` everywhere else."""
