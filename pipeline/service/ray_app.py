"""The service as an application of Ray Serve: replicas of the whole ASGI application behind Serve's own proxy.

`served` runs it while a command lasts; `build` is what a configuration of ``serve deploy`` names. The guard stands in
each replica, so its limits count for each, and Serve's ``/-/healthz`` and ``/-/routes`` are outside of it: they tell
that Serve lives, and the name of the application.
"""
# Serve reads the annotation of `build` as a class: there is no `from __future__ import annotations` here.

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from pydantic import Field
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import BackpressureConfig, HTTPOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from pipeline.errors import RunError, UsageError, first_line
from pipeline.service.app import create_app
from pipeline.service.guard import Guard, log_requests
from pipeline.service.settings import ServiceSettings
from pipeline.tokens import hash_from_environment

__all__ = ["RaySettings", "build", "served"]

NAME: Final = "moee"

logger = logging.getLogger(__name__)


class RaySettings(ServiceSettings):
    """A service on a cluster.

    Serve's proxy listens where its own options say: a token is needed unless `host` says that this is one machine only.
    """

    host: str = "0.0.0.0"  # noqa: S104  what is assumed of the proxy, which asks for a token
    token_hash: str | None = Field(default_factory=hash_from_environment, repr=False)
    """Where the configuration leaves it out, the environment of the nodes holds it."""
    replicas: int = Field(1, ge=1)
    replica_cpus: float = Field(1.0, gt=0)
    """CPUs, and threads, of each replica."""
    replica_gpus: float = Field(0.0, ge=0)
    log_requests: bool = False
    """A line of JSON for each request in the log of its replica, without what was asked."""


def build(settings: RaySettings) -> serve.Application:
    """The application, for Serve.

    Raises:
        UsageError: settings that cannot be meant.
    """
    most = settings.limits.requests
    deployed = serve.deployment(
        name="service",
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.replica_cpus, "num_gpus": settings.replica_gpus},
        max_ongoing_requests=2 * most,  # the guard refuses those beyond `most`, in its own words
        max_queued_requests=most,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        max_constructor_retry_count=1,
        # Serve's own log of requests has their addresses, and with them what was asked.
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )
    return deployed(serve.ingress(_builder(settings))()).bind()


@contextmanager
def served(settings: RaySettings, *, certificate: str | None = None, key: str | None = None) -> Generator[None]:
    """Serve on the cluster that this process is connected to, while the context lasts.

    Raises:
        UsageError: Serve runs there already.
        RunError: it cannot be started, or a replica cannot.
    """
    if serve.status().proxies:
        raise UsageError("Ray Serve runs on this cluster already: add the service to it by serve deploy")
    if not logger.isEnabledFor(logging.DEBUG):
        logging.getLogger("ray.serve").setLevel(logging.CRITICAL + 1)  # its errors are raised
    try:
        _start(settings, certificate, key)
        yield
    finally:
        serve.shutdown()


def _start(settings: RaySettings, certificate: str | None, key: str | None) -> None:
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(
                host=settings.host,
                port=settings.port,
                request_timeout_s=2 * settings.limits.seconds,  # the guard's own bound comes first
                ssl_certfile=certificate,
                ssl_keyfile=key,
            ),
            logging_config=quiet,
        )
        serve.run(build(settings), name=NAME, route_prefix="/", logging_config=quiet)
    except (RayError, RayServeException, RuntimeError, ValueError) as error:
        raise RunError(f"Ray Serve cannot start the service: {first_line(error)}") from error


def _builder(settings: RaySettings) -> Callable[[], Guard]:
    """What each replica calls to make its application."""

    def application() -> Guard:
        if settings.log_requests:
            log_requests()
        return create_app(settings)

    return application
