"""Promise 2 for hours: random faults, the same command again and again, and the invariant after each.

    make soak                           200 faults, at most two hours
    pytest tests/soak -m soak -s --kills 20 --minutes 15 --seed 7 --faults driver,node
    pytest tests/soak -m soak -s --engine local

A round embeds one corpus into a table of its own. Drivers run on a cluster that lives on, and are hurt at random
moments: a replica, reader, writer or raylet is killed, the disk is filled, a second driver comes, the driver itself is
killed, or starts with its clock wrong. Who ends badly is started again with the same command, and nothing else is ever
done by hand. In every fourth round source and table are in object storage behind a proxy that injects faults.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]

ROWS = 800
DELAY = 0.02
ENDS_WITHIN = 420.0
"""Seconds after which a driver that nobody hurts any more must have ended."""
LOCAL_FAULTS = {"replica", "reader", "writer", "driver", "disk", "rival", "clock"}
"""Without Ray there are no nodes to lose; the writer is the replica."""
WEIGHTS = {"replica": 5, "reader": 4, "writer": 4, "driver": 5, "node": 2, "disk": 2, "rival": 2, "clock": 2}


@pytest.fixture
def soak(lab, world, tmp_path, request):
    seed = request.config.getoption("--seed", default=None)
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    tell(f"\nsoak: seed {seed}")
    engine = request.config.getoption("--engine", default="ray")
    made = world.World(lab, tmp_path, random.Random(seed), engine)
    yield made
    tell(f"soak: {sum(Counter(made.happened).values())} faults: {dict(Counter(made.happened))}, seed {seed}")
    made.close()


def tell(line):
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def test_whatever_dies_each_document_is_there_once(soak, world, lab, request):
    kills = request.config.getoption("--kills", default=200)
    until = time.monotonic() + 60 * request.config.getoption("--minutes", default=120)
    only = request.config.getoption("--faults", default=None)
    weights = {name: weight for name, weight in WEIGHTS.items() if only is None or name in only.split(",")}
    if soak.engine == "local":
        weights = {name: weight for name, weight in weights.items() if name in LOCAL_FAULTS}
    number = 0
    while len(soak.happened) < kills and time.monotonic() < until:
        remote = number % 4 == 3 if only is None else "s3" in only.split(",")
        began = len(soak.happened)
        if remote:
            cloud_round(soak, world, number)
        else:
            local_round(soak, world, lab, number, weights, kills)
        tell(f"soak: round {number}{' in object storage' if remote else ''}: {len(soak.happened) - began} faults, "
             f"{len(soak.happened)} in all")  # fmt: skip
        number += 1
    assert soak.happened


def local_round(soak, world, lab, number, weights, kills):
    """A new table, then the same documents in other files."""
    table = soak.disk / f"docs{number}"
    for make in (soak.make_corpus, soak.partition_anew):
        corpus, everything = make(number, ROWS)
        embed_whatever_happens(soak, world, corpus, table, weights, kills)
        verify(soak, world, lab, corpus, table, everything)


def embed_whatever_happens(soak, world, corpus, table, weights, kills):
    """Run the command until it ends well; what hurts it comes to an end, too."""
    faults = 0
    while True:
        clock = soak.random.choice([0, 0, 0, 86_400, -86_400, 10 * 365 * 86_400]) if "clock" in weights else 0
        if clock:
            soak.happened.append("clock")
        driver = soak.start(corpus, table, "--replicas", "1:2", "--delay", DELAY, "--clock", clock)
        while driver.poll() is None and faults < 8 and len(soak.happened) < kills:
            wait_a_while(soak, driver)
            faults += hurt(soak, driver, corpus, table, weights)
        if ended_well(driver):
            return
        world.distinct(table)


def verify(soak, world, lab, corpus, table, everything):
    """The invariant, and that nothing is left to do."""
    accepted, rejects = world.check(table, everything)
    assert not lab.old_orphans(str(table))
    innocent = [row for row in rejects if "kill" in row["reason"]]
    if innocent:
        again = soak.start(corpus, table, "--retry-rejects")
        assert ended_well(again), again.log.read_text()
        accepted, rejects = world.check(table, everything)
    assert (accepted, len(rejects)) == (len(everything) - 3, 3)
    idle = soak.start(corpus, table)
    assert ended_well(idle)
    assert "nothing new" in idle.log.read_text()


def wait_a_while(soak, driver):
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(soak.random.uniform(1.0, 9.0))


def hurt(soak, driver, corpus, table, weights):
    """One fault; 1 if it happened."""
    fault = soak.random.choices(list(weights), list(weights.values()))[0]
    if driver.poll() is not None or fault == "clock":
        return 0
    done = {
        "driver": lambda: soak.kill_driver(driver),
        "node": soak.kill_node,
        "disk": lambda: soak.fill_disk(soak.random.uniform(0.5, 4.0)),
        "rival": lambda: rival(soak, corpus, table),
    }.get(fault, lambda: soak.kill_worker(fault, driver))()
    if done:
        soak.happened.append(fault)
    return int(done)


def rival(soak, corpus, table):
    """A second driver at the same time: it leaves with a clear line, or does the work when the first has died."""
    second = soak.start(corpus, table, "--delay", DELAY)
    second.wait(ENDS_WITHIN)
    assert second.returncode == 0 or "is being written by" in second.log.read_text(), second.log.read_text()
    return True


def ended_well(driver):
    """Wait for a driver; False if it ended in an error that a person can read, or was killed."""
    driver.wait(ENDS_WITHIN)
    said = driver.log.read_text()
    assert "Traceback" not in said, said
    return driver.returncode == 0


def cloud_round(soak, world, number):
    """Source and table behind a proxy in trouble; drivers run until one ends well."""
    boto3 = pytest.importorskip("boto3")
    control = soak.folder / "trouble"
    control.write_text("0")
    with s3(control, soak.random.randrange(10**6)) as (direct, endpoint):
        keys = {"aws_access_key_id": "soak", "aws_secret_access_key": "soak"}
        client = boto3.client("s3", endpoint_url=direct, region_name="us-east-1", **keys)
        bucket = f"soak-{number}"
        client.create_bucket(Bucket=bucket)
        corpus, everything = soak.make_corpus(number, ROWS // 2)
        for file in corpus.iterdir():
            client.upload_file(str(file), bucket, f"in/{file.name}")
        table = f"s3://{bucket}/lake/docs"
        # As options and not as variables: the cluster's workers were started long before.
        options = {**keys, "aws_region": "us-east-1", "aws_endpoint": endpoint, "allow_http": "true"}
        options = [word for item in options.items() for word in ("--storage-option", "=".join(item))]
        for attempt in range(12):
            driver = soak.start(f"s3://{bucket}/in/", table, "--delay", DELAY, *options)
            while driver.poll() is None and attempt < 10:
                control.write_text(str(soak.random.choice([0, 0.02, 0.1, 0.4])))
                soak.happened.append("s3")
                wait_a_while(soak, driver)
            control.write_text("0")
            if ended_well(driver):
                break
        else:
            raise AssertionError(driver.log.read_text())
        world.check(table, everything, {"endpoint_url": direct, "key": "soak", "secret": "soak", "region": "us-east-1"})


@contextlib.contextmanager
def s3(control, seed):
    """A moto server and the proxy before it: (its own address, the proxy's)."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    proxy = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("proxy.py")), f"{host}:{port}", str(control), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://{host}:{port}", f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
    finally:
        proxy.kill()
        proxy.wait()
        proxy.stdout.close()
        server.stop()
