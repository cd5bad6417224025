"""``moee serve``: search, documents, facets and topics of tables over HTTP."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, run_command, storage_argument, storage_options
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from pipeline.service.settings import ServiceSettings

__all__ = ["COMMAND"]

_CLUSTER: Final = ("address", "replicas", "replica_cpus", "replica_gpus")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee serve``."""
    parser.add_argument("table", nargs="*", metavar="DIR/NAME")
    storage_argument(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="(8000); 0: one that is free")
    parser.add_argument("--host-name", action="append", default=[], metavar="NAME", help="by which it is also reached")
    parser.add_argument(
        "--token-hash",
        metavar="HASH",
        help="of the token that requests bring (or MOEE_SERVE_TOKEN_HASH; MOEE_SERVE_TOKEN holds a token)",
    )
    parser.add_argument("--new-token", action="store_true", help="make a token, print it and its hash, and end")
    parser.add_argument("--no-texts", action="store_true", help="answers hold no texts")
    parser.add_argument("--mcp", action="store_true", help="answer assistants too, at /mcp (Model Context Protocol)")
    parser.add_argument("--certificate", metavar="FILE", help="PEM, for HTTPS")
    parser.add_argument("--key", metavar="FILE", help="PEM, of the certificate")
    parser.add_argument("--max-requests", type=int, metavar="N", help="answered at once (64); more get status 429")
    parser.add_argument("--max-k", type=int, metavar="N", help="hits of one search (1,000)")
    parser.add_argument("--max-cache", type=int, metavar="MB", help="of indexes, kept in memory for all tables (256)")
    parser.add_argument("--log-requests", action="store_true", help="a line of JSON for each, without what was asked")
    cluster = parser.add_argument_group("on a Ray cluster")
    cluster.add_argument("--ray", action="store_true", help="serve by Ray Serve, on a cluster or one on this machine")
    cluster.add_argument("--address", help="of the cluster (RAY_ADDRESS, or one for the length of the command)")
    cluster.add_argument("--replicas", type=int, metavar="N", help="processes that answer (1)")
    cluster.add_argument("--replica-cpus", type=float, metavar="N", help="CPUs of each (1)")
    cluster.add_argument("--replica-gpus", type=float, metavar="N", help="GPUs of each (0)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Serve until it is stopped."""
    if arguments.new_token:
        _show_token(output)
        return
    if not arguments.table:
        raise UsageError("serve: name at least one table")
    if (arguments.certificate is None) != (arguments.key is None):
        raise UsageError("--certificate and --key go together")
    if arguments.certificate is not None:
        _check_certificate(arguments.certificate, arguments.key)
    if not arguments.ray and any(getattr(arguments, name) is not None for name in _CLUSTER):
        raise UsageError(f"--{', --'.join(_CLUSTER).replace('_', '-')} go with --ray")
    (_run_on_ray if arguments.ray else _run_here)(arguments, output)


def _run_here(arguments: argparse.Namespace, output: Output) -> None:
    """In this process, by uvicorn."""
    from pipeline.service.settings import ServiceSettings

    settings = ServiceSettings(**_fields(arguments))
    import uvicorn

    from pipeline.service.app import create_app
    from pipeline.service.guard import log_requests

    sockets = _listening(settings)
    with output.following("opening the tables"):
        app = create_app(settings, warm=True)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            ssl_certfile=arguments.certificate,
            ssl_keyfile=arguments.key,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=int(settings.limits.seconds) + 1,  # what was begun is answered
        )
    )
    if arguments.log_requests:
        log_requests()
    _tell(arguments, settings.host, sockets[0].getsockname()[1], output)
    try:
        server.run(sockets)
    except KeyboardInterrupt:  # uvicorn has ended well, and passes the signal on
        output.progress.print("stopped")


def _listening(settings: ServiceSettings) -> list[socket.socket]:
    """Sockets at all addresses that the host's name has here, of one port."""
    port, sockets = settings.port, list[socket.socket]()
    try:
        for family, *_, address in socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM):
            sockets.append(socket.create_server((address[0], port), family=family, backlog=2048))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        raise UsageError(
            f"cannot listen at {settings.host}, port {settings.port}: {str(error.strerror).partition(' (')[0]}; "
            "choose by --host and --port"
        ) from error
    return sockets


def _check_certificate(certificate: str, key: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise UsageError(
            f"--certificate {certificate} --key {key}: these are no PEM files that belong together"
        ) from error
    except OSError as error:
        raise UsageError(f"--certificate {certificate} --key {key}: {error.strerror}") from error


def _run_on_ray(arguments: argparse.Namespace, output: Output) -> None:
    """In replicas of a cluster, by Ray Serve."""
    from pipeline.flow.engines.cluster import cluster
    from pipeline.service.app import create_app

    try:
        from pipeline.service.ray_app import RaySettings, served
    except ImportError as error:
        raise UsageError("--ray needs the extra serve: pip install 'moee-pipeline[serve]'") from error
    given = {name: getattr(arguments, name) for name in ("replicas", "replica_cpus", "replica_gpus")}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = RaySettings(**_fields(arguments), **chosen, log_requests=arguments.log_requests)
    with output.following("opening the tables"):
        create_app(settings)  # what cannot be served is told here, in one line
    stdout = sys.stdout
    # Ray writes to stdout what its log files have too, at the end that the parts have died which it ended itself.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), ExitStack() as stack:
        with output.following("starting Ray Serve"):
            stack.enter_context(cluster(arguments.address))
            stack.enter_context(served(settings, certificate=arguments.certificate, key=arguments.key))
        with redirect_stdout(stdout):
            _tell(arguments, settings.host, settings.port, output)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            output.progress.print("stopping")


def _tell(arguments: argparse.Namespace, host: str, port: int, output: Output) -> None:
    scheme = "http" if arguments.certificate is None else "https"
    shown = f"[{host}]" if ":" in host else host
    names = ", ".join(arguments.table)
    output.people.print(f"{scheme}://{shown}:{port} serves {names} (Ctrl-C ends it)", markup=False)


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Of the settings, here as on a cluster."""
    from pipeline.table.location import TableLocation
    from pipeline.tokens import hash_from_environment, parse_token_hash

    options = storage_options(arguments)
    kept = parse_token_hash(arguments.token_hash) if arguments.token_hash else hash_from_environment()
    cached = None if arguments.max_cache is None else arguments.max_cache << 20
    given = {"requests": arguments.max_requests, "k": arguments.max_k, "cached_bytes": cached}
    return {
        "tables": tuple(str(TableLocation.parse(uri, options)) for uri in arguments.table),  # replicas start elsewhere
        "storage_options": options,
        "host": arguments.host,
        "port": arguments.port,
        "token_hash": kept,
        "host_names": tuple(arguments.host_name),
        "with_texts": not arguments.no_texts,
        "mcp": arguments.mcp,
        "limits": {name: value for name, value in given.items() if value is not None},
    }


def _show_token(output: Output) -> None:
    from pipeline.tokens import new_token, token_hash

    token = new_token()
    output.people.print(f"token {token}\nhash  {token_hash(token)}", highlight=False, markup=False)
    output.people.print("Keep the token, give the hash to moee serve --token-hash.", markup=False)
    output.result({"token": token, "hash": token_hash(token)})


COMMAND: Final = Command(
    name="serve",
    help="Serve search, documents, facets and topics of tables over HTTP. Nothing it answers to writes.",
    configure=configure,
    run=run,
    examples=(
        "moee serve lake/docs",
        "moee serve --new-token",
        "moee serve lake/docs --ray --replicas 2",
        "moee serve lake/docs lake/mail --host 0.0.0.0 --token-hash 3f… --host-name search.example.org",
        'curl -s localhost:8000/search -H "content-type: application/json" -d \'{"query": "space flight", "k": 3}\'',
    ),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
