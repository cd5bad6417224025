"""`forecast`: a run's estimate, from its sources, table and options, without changing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.embedding.combine import dimension
from pipeline.flow.encoder import EncoderPlan
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.choice import runs_on_ray
from pipeline.flow.engines.devices import count_gpus
from pipeline.flow.forecast.estimate import Estimate, Setting, estimate
from pipeline.flow.forecast.rate import MEASURE_SECONDS, Rate, last_rate, measure_rate
from pipeline.flow.forecast.sample import draw_sample
from pipeline.flow.job import read_stage
from pipeline.mapper import available_cores
from pipeline.models import locate

if TYPE_CHECKING:
    from pipeline.flow.embed import Task
    from pipeline.flow.progress import Listener

__all__ = ["forecast"]


def forecast(
    task: Task,
    listener: Listener,
    *,
    rate: float | None = None,
    price: float | None = None,
    seconds: float = MEASURE_SECONDS,
) -> Estimate | None:
    """What a run of `task` will take; None where there is nothing to embed.

    Args:
        task: from `pipeline.flow.embed.plan_embed`.
        listener: told what is being done.
        rate: tokens a second of one replica; None: of the table's last long run, else measured here.
        price: of a replica for an hour.
        seconds: for which to measure, beside loading the model.

    Raises:
        SourceError: nothing of the sample is a document.
        ModelError: the model cannot be loaded here; give a rate.
    """
    if task.work.units.is_empty:
        return None
    options = task.options
    listener.phase("reading a sample")
    sample = draw_sample(task.work.units, read_stage(task.spec, options, task.work))
    gpus = 0 if options.device == "cpu" else count_gpus()
    on_gpus = bool(gpus) or options.device.startswith("cuda")
    replicas = options.replicas or Replicas(max(gpus, 1), max(gpus, 1))
    known = Rate(rate, 0.0, "as given") if rate else None
    if known is None and task.existing is not None:
        known = last_rate(task.location)
    if known is None:
        listener.phase("measuring the rate")
        threads = None if on_gpus else available_cores()
        known = measure_rate(EncoderPlan(task.spec, task.meaning, options.device, threads), sample, seconds)
    return estimate(
        sample,
        known,
        Setting(
            replicas=replicas.most,
            with_ray=runs_on_ray(options),
            on_gpus=on_gpus,
            calibrates=task.existing is None,
            dimension=_dimension(task),
            with_text=options.with_text,
            price=price,
        ),
    )


def _dimension(task: Task) -> int:
    if task.existing is not None:
        return task.existing.schema.field("vector").type.list_size
    from pipeline.replica.overview import overview

    sizes = overview(locate(task.spec.model, task.spec.revision))
    return dimension(task.spec.combine or "sum", sizes["hidden"], sizes["routing"])
