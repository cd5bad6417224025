"""A Ray cluster of several nodes on this machine, each a raylet of its own; it does what is written to it.

python node_host.py: prints the address, then answers ``add`` and ``kill`` with a line each and ends with its input.
"""

from __future__ import annotations

import os
import sys

import psutil
from ray._private import ray_constants
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


def kill(node):
    """SIGKILL for a node's raylet and everything that it has started, at once; how many processes."""
    raylet = node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process
    family = [psutil.Process(raylet.pid), *psutil.Process(raylet.pid).children(recursive=True)]
    for process in family:
        process.suspend()
    for process in family:
        process.kill()
    raylet.wait()
    return len(family)


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    say(cluster.address)
    nodes = []
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(**{**NODE, "include_dashboard": None}))
            say("added")
        else:
            say(f"killed {kill(nodes.pop(0))}")
    for node in [*nodes, cluster.head_node]:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
