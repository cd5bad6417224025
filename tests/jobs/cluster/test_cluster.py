"""A cluster of three nodes: what breaks, what is stopped, what comes twice."""

from __future__ import annotations

import json
import time

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

EMBED = ("--max-tokens", 24, "--pooling", "last", "--replicas", 2, "--keep", "theme")


def wait_for(true, seconds=180):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.5)


def jobs_of(cluster, table):
    """The jobs that embed into a table."""
    known = json.loads(cluster("jobs", "list", "--json").stdout)["jobs"]
    return [job for job in known if str(table) in job["command"]]


def corpus(lab, folder, count):
    for part in range(8):
        lab.write(folder / f"{part}.jsonl", lab.documents(count, f"p{part}"))
    return folder


@pytest.fixture
def way(heads, nodes):
    way = heads.Way(int(nodes.head.address.rpartition(":")[2]))
    yield way
    way.close()


def test_two_that_submit_the_same_get_one_job_over_connections_that_break(nodes, lab, way, tmp_path):
    folder, table = corpus(lab, tmp_path / "docs", 40), tmp_path / "lake" / "docs"
    command = ("submit", "--", "embed", folder, "--table", table, *EMBED, "--then", "index,topics")
    both = [nodes.start(*command, address=way.address) for _ in range(2)]
    wait_for(lambda: [job["status"] for job in jobs_of(nodes, table)] == ["running"])
    for _ in range(4):
        time.sleep(4)
        way.cut()
    outs = [process.communicate(timeout=400) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    for out, err in outs:
        assert out.count("320 documents (") == 1, out
        assert "connection lost" in err
        assert len({line for line in out.splitlines() if "documents (" in line}) == 1
    assert len(jobs_of(nodes, table)) == 1
    assert sum("attached to" in err for _, err in outs) == 1
    assert len(lab.stored(table)) == 320


def test_a_run_that_is_stopped_goes_on_later_and_outlives_a_worker(nodes, heads, lab, tmp_path):
    folder, table = corpus(lab, tmp_path / "docs", 5000), tmp_path / "lake" / "docs"
    command = ("submit", "--", "embed", folder, "--table", table, *EMBED)
    first = nodes.start(*command)
    wait_for(lambda: lab.rows_in(table) > 0)
    (name,) = (job["job"] for job in jobs_of(nodes, table))
    stopped = nodes("jobs", "stop", name)
    assert "stopped" in stopped.stdout, stopped
    out, err = first.communicate(timeout=60)
    assert first.returncode == 143, err
    assert "interrupted; what was committed stays" in out
    before = lab.rows_in(table)
    assert 0 < before < 40_000

    second = nodes.start(*command)
    wait_for(lambda: lab.rows_in(table) > before)
    heads.stop(nodes.head.nodes.pop())
    nodes.head.add_worker()
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, out + err
    assert len(lab.stored(table)) == 40_000


def test_a_cluster_without_gpus_is_told_in_one_line(nodes, lab, tmp_path):
    source = lab.write(tmp_path / "docs.jsonl", lab.documents(12))
    table = tmp_path / "lake" / "docs"
    began = time.monotonic()
    done = nodes(
        "submit", "--", "embed", source, "--table", table, "--replicas", 3, "--device", "cuda", "--start-minutes", 0.1
    )
    assert done.returncode == 1
    assert "error: the cluster had no room for 3 replicas with 1 GPU and 1 CPU each within 0.1 min" in done.stdout
    assert time.monotonic() - began < 120
    assert not table.with_name("docs.lance").exists()
