"""An engine without processes: the stages in a loop, in the process of the test, which dies with whatever kills it."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pyarrow as pa

from pipeline.flow.encoder import calibrate
from pipeline.flow.engines.base import Pool, Replicas
from pipeline.flow.parcel import Parcel
from pipeline.flow.poison.tracker import Tracker


class InProcessEngine(contextlib.AbstractContextManager):
    name = "in-process"
    pool = Pool(Replicas(1, 1), None)

    def __exit__(self, *error):
        pass

    def track(self, location, run, *, forgive):
        self.tracker = Tracker(location, run, forgive=forgive)

    def calibrate(self, encoder, plan, read):
        return calibrate(encoder, replace(read, watch=self.tracker).parcels_of(plan), self.tracker)[0]

    def parcels(self, sized, stages):
        read, write = (replace(stage, watch=self.tracker) for stage in (stages.read, stages.write))
        embed = stages.embed(stages.encoder, watch=self.tracker, sample=stages.sample, **stages.embed_arguments)
        for unit in sized.plan:
            for block in read(pa.table({"unit": [unit.to_json()]})):
                for made in embed(block):
                    yield from Parcel.from_block(write(made))

    def deaths(self):
        return self.tracker.deaths()

    def show(self, values, *, last=False):
        self.shown = list(values)

    def map(self, function, items):
        return map(function, items)
