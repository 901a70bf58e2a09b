from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.tiny import tiny_model
from vqa_ray.training.config import OptimizerConfig
from vqa_ray.training.optimizer import build_optimizer, parameter_groups, schedule_factor


def test_every_parameter_is_in_one_group_and_norms_and_biases_do_not_decay() -> None:
    model, _ = tiny_model()
    config = OptimizerConfig()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [(names[id(p)], g) for g in parameter_groups(model, config) for p in g["params"]]  # type: ignore[attr-defined]
    assert sorted(name for name, _ in grouped) == sorted(names.values())
    for name, group in grouped:
        assert group["lr"] == pytest.approx(1e-3 if name.startswith("classifier") else 1e-4), name
        plain = name.endswith("bias") or "norm" in name.lower() or name.startswith("classifier.1")
        assert group["weight_decay"] == (0.0 if plain else 0.01), name
    assert build_optimizer(model, config).param_groups[0]["betas"] == (0.9, 0.98)


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0, 0.5))
def test_the_schedule_rises_once_falls_once_and_stays_in_bounds(total: int, warmup: float) -> None:
    factors = [schedule_factor(step, total, warmup) for step in range(total + 1)]
    assert all(0 <= f <= 1 for f in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert max(factors) == 1
    assert factors[-1] == 0 or total <= 2


def test_a_cosine_falls_slowly_at_both_ends() -> None:
    factors = [schedule_factor(step, 100, 0.03, "cosine") for step in range(101)]
    assert factors[:4] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    half = 3 + 97 // 2
    assert factors[half] == pytest.approx(0.5, abs=0.02)
    assert factors[100] == 0
    assert factors[10] > schedule_factor(10, 100, 0.03)
    assert factors[90] < schedule_factor(90, 100, 0.03)
