from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, model_type_to_module_name
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from pipeline.errors import ModelError
from pipeline.models import locate
from pipeline.models.families import FAMILIES, REFUSED, UNVERIFIED, family_of
from pipeline.replica.architecture import CONFIG_OVERRIDES, text_part
from pipeline.replica.batch import TokenBatch
from pipeline.replica.overview import overview
from pipeline.replica.quantization.weights import is_expert_matrix
from pipeline.replica.replica import Replica
from pipeline.replica.tap import SCORE_FUNCTIONS, _belongs

LENGTHS = (7, 30, 1, 18)
EXPERTS = re.compile(r"\.experts/|/JetMoeMoE$")
PACKING_FAILURES = (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass
class Case:
    """A family's tiny model: as built, and loaded from disk as a replica; and what each sequence gives alone."""

    family: Any
    built: Any
    replica: Replica
    overview: dict
    alone: tuple


def batch(lengths=LENGTHS):
    lengths = np.array(lengths, dtype=np.int64)
    ids = np.random.default_rng(1).integers(3, 90, lengths.sum(), dtype=np.int32)
    return TokenBatch(ids, lengths, np.minimum(1, lengths - 1), lengths)


def singly(whole, forward):
    pieces = np.split(whole.ids, np.cumsum(whole.lengths)[:-1])
    rows = [
        forward(TokenBatch(ids, *(a[n : n + 1] for a in (whole.lengths, whole.starts, whole.stops))))
        for n, ids in enumerate(pieces)
    ]
    return tuple(np.concatenate(half) for half in zip(*rows, strict=True))


def close(one, other, slack=1.0):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 * slack, atol=1e-5 * slack * max(1.0, np.abs(b).max()))


def load(folder):
    return Replica.load(locate(str(folder)), dtype="float32", device="cpu", routing="scores", routing_layers=None)


@pytest.fixture(scope="session")
def cases(tmp_path_factory, tiny_model):
    known = {}

    def case(model_type):
        if model_type not in known:
            folder = tmp_path_factory.mktemp(model_type)
            built = tiny_model(model_type)
            built.save_pretrained(folder)
            replica = load(folder)
            alone = singly(batch(), lambda one: replica.forward(one, "last"))
            known[model_type] = Case(FAMILIES[model_type], built, replica, overview(locate(str(folder))), alone)
        return known[model_type]

    return case


@pytest.fixture(params=sorted(FAMILIES))
def case(request, cases):
    return cases(request.param)


def test_the_table_is_true(case):
    family, replica = case.family, case.replica
    names = [name for name, _ in replica._model.named_parameters()]
    groups = [
        name for name, module in replica._model.named_modules() if EXPERTS.search(f"{name}/{type(module).__name__}")
    ]
    assert replica.layout == family.layout
    assert replica._score == family.scores
    assert len(replica._tap) == len(groups) > 0
    assert any(is_expert_matrix(name) for name in names) == family.fused
    assert (case.overview["hidden"], case.overview["routing"]) == replica.halves
    assert (case.overview["moe_layers"], case.overview["verified"]) == (len(groups), True)


def test_a_batch_changes_nothing(case):
    close(case.replica.forward(batch(), "last"), case.alone)
    alone = case.replica.forward(batch(LENGTHS[:1]), "mean")
    close([half[:1] for half in case.replica.forward(batch(), "mean")], alone)
    if case.family.layout == "padded":
        return
    case.replica._use("padded")
    try:
        close(case.replica.forward(batch(), "last"), case.alone)
    finally:
        case.replica._use(case.family.layout)


def test_a_family_is_padded_only_where_packing_is_wrong(case):
    if case.family.layout == "packed":
        return
    case.replica._use("packed")
    try:
        hidden, _ = case.replica.forward(batch(), "last")
    except PACKING_FAILURES:
        return
    finally:
        case.replica._use("padded")
    assert np.abs(hidden - case.alone[0]).max() > 1e-3


@pytest.mark.parametrize("model_type", sorted(FAMILIES.keys() - CONFIG_OVERRIDES.keys()))
def test_what_was_saved_and_loaded_gives_what_transformers_gives(model_type, cases):
    case, whole = cases(model_type), batch()
    official = []
    for ids in np.split(whole.ids, np.cumsum(whole.lengths)[:-1]):
        with torch.inference_mode():
            output = case.built(torch.from_numpy(ids).long()[None], output_router_logits=True, use_cache=False)
        scores = [
            SCORE_FUNCTIONS[case.family.scores](logits.float()).reshape(len(ids), -1)[-1:]
            for logits in output.router_logits
        ]
        official.append((output.last_hidden_state[:, -1].numpy(), scores))
    np.testing.assert_allclose(case.alone[0], np.concatenate([hidden for hidden, _ in official]), rtol=1e-4, atol=2e-5)
    layers = np.split(case.alone[1], len(case.replica._tap), axis=1)
    for position in range(len(official[0][1])):
        wanted = torch.cat([scores[position] for _, scores in official]).numpy()
        assert min(np.abs(layer - wanted).max() for layer in layers if layer.shape == wanted.shape) < 1e-5


def mixing(inputs, scores):
    """The chosen experts and their weights among what a model gives its experts, as [T, k] each; or None."""
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    chosen = next((t for t in tensors if not t.is_floating_point() and t.dim() == 2), None)
    if chosen is None:
        return None
    weights = [
        t for t in tensors if t.is_floating_point() and t.shape == chosen.shape and t.data_ptr() != scores.data_ptr()
    ]
    return (chosen, weights[-1]) if weights else None


UNCOMPARABLE = {
    "jetmoe": "its experts are given sorted tokens",
    "llama4_text": "it multiplies the experts' inputs by the scores",
    "phimoe": "its sparse mixer masks the logits again for each choice",
    "switch_transformers": "one expert a token, chosen by a mask",
}


@pytest.mark.parametrize("model_type", sorted(FAMILIES.keys() - UNCOMPARABLE.keys()))
def test_scores_are_what_the_model_mixes_its_experts_by(model_type, cases):
    replica, one = cases(model_type).replica, batch((12,))
    given, hooks = {}, []
    for name, module in replica._model.named_modules():
        if name.rpartition(".")[2] == "experts":
            keep = lambda _module, args, kwargs, name=name: given.update({name: (*args, *kwargs.values())})  # noqa: E731
            hooks.append(module.register_forward_pre_hook(keep, with_kwargs=True))
    ids = torch.from_numpy(one.ids).long()[None]
    replica._use("padded")
    try:
        with torch.inference_mode(), replica._tap.reading(replica._scores) as seen:
            replica._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        replica._use(cases(model_type).family.layout)
        for hook in hooks:
            hook.remove()
    assert len(given) == len(seen)
    for position, router in enumerate(replica._tap._routers):
        inputs = next(values for name, values in given.items() if _belongs(router.name, name))
        chosen, weights = mixing(inputs, seen[position])
        own, weights = seen[position].gather(1, chosen.long()), weights.float()
        if chosen.shape[1] > 1:
            own, weights = own / own.sum(-1, keepdim=True), weights / weights.sum(-1, keepdim=True)
        else:
            own = own * (weights > 0)
        torch.testing.assert_close(own, weights, rtol=1e-5, atol=1e-6)


def test_llama4_and_switch_scores_are_what_they_mix_by(cases):
    for model_type, index in (("llama4_text", 0), ("switch_transformers", 1)):
        replica, one, outputs = cases(model_type).replica, batch((12,)), []
        hooks = [
            router.module.register_forward_hook(
                lambda _module, _inputs, output, outputs=outputs: outputs.append(output)
            )
            for router in replica._tap._routers
        ]
        with replica._tap.reading(replica._scores) as seen, torch.inference_mode():
            replica._model(input_ids=torch.from_numpy(one.ids).long()[None])
        for hook in hooks:
            hook.remove()
        for position, output in enumerate(outputs):
            weights = output[index].reshape(12, -1)
            if weights.shape[1] == 1:
                torch.testing.assert_close(seen[position].max(-1, keepdim=True).values, weights)
            else:
                assert ((weights > 0).sum(-1) == 2).all()
                torch.testing.assert_close(seen[position][weights > 0], weights[weights > 0])


def declared_types():
    """Architectures of transformers in whose source a model declares its routers; importing them all takes a minute."""
    for model_type in MODEL_MAPPING_NAMES:
        name = model_type_to_module_name(model_type)
        source = Path(transformers.__file__).parent / "models" / name / f"modeling_{name}.py"
        if source.is_file() and '"router_logits": ' in source.read_text(encoding="utf-8"):
            yield model_type


def test_every_architecture_of_transformers_is_accounted_for():
    for model_type in declared_types():
        if model_type.endswith(("_vision", "_audio")):
            continue
        inner = CONFIG_MAPPING[model_type]().get_text_config().model_type
        known = FAMILIES.keys() | REFUSED.keys() | {*UNVERIFIED}
        assert {model_type, inner} & known, f"{model_type}: build it in tiny.py and list it in pipeline.models.families"


@pytest.mark.parametrize("model_type", sorted(name for family in FAMILIES.values() for name in family.within))
def test_a_composite_gives_what_its_text_part_gives(model_type, tiny_composite, tmp_path):
    torch.manual_seed(0)
    whole = AutoModel.from_config(tiny_composite(model_type)).eval()
    whole.save_pretrained(tmp_path / "whole")
    text_part(whole).save_pretrained(tmp_path / "text")
    replica, alone = load(tmp_path / "whole"), load(tmp_path / "text")
    assert replica.layout == alone.layout == family_of(model_type).layout
    assert replica._score == alone._score == family_of(model_type).scores
    assert type(replica._model) is type(alone._model)
    close(replica.forward(batch(), "last"), alone.forward(batch(), "last"))


def test_routers_that_hand_out_scores_have_no_logits(tiny_model):
    with pytest.raises(ModelError, match="its routers hand out scores only"):
        Replica(tiny_model("gemma4_text"), routing="logits")
