"""A run that is told to stop ends in one line, and the next one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("engine", ["ray", "local"])
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_interrupt_a_run(lab, tmp_path, sent, status, engine):
    source = lab.write(tmp_path / "a.parquet", lab.documents(3000))
    command = [sys.executable, "-m", "jobs.cli", "embed", str(source), "--table", str(tmp_path / "lake" / "docs")]
    command += ["--engine", engine]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        while not running.stderr.readline().startswith("calibrating"):
            assert running.poll() is None
        workers = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(sent)
        rest = running.stderr.read()
        assert running.wait(120) == status
    assert workers
    gone, living = psutil.wait_procs(workers, timeout=30)
    assert not living, gone
    assert rest.splitlines()[-1] == "interrupted; what was committed stays, and the same command goes on from there"
    assert "Traceback" not in rest
    assert "SIGTERM" not in rest
