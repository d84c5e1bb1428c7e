"""A training run that saves itself and goes on where it was, for both parts of the VLM."""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from atlas.demo import states

EVERY = 100
"""Steps between two saved states."""


@dataclass(frozen=True)
class TrainingRun:
    """What is trained, and how long.

    Attributes
    ----------
    name : str
        Name of the saved state, also in the log.
    parts : nn.Module
        Everything with weights that change.
    loss : callable
        The loss of step number n; all its chance must come from n.
    check : callable
        Figures for the log.
    steps : int
        How many.
    rate : float
        Largest learning rate.
    """

    name: str
    parts: nn.Module
    loss: Callable[[int], Tensor]
    check: Callable[[], dict[str, float]]
    steps: int
    rate: float


def run(planned: TrainingRun, out: Path) -> None:
    """Train to the end, or go on; the state and `log.jsonl` are in `out`."""
    state = out / f"{planned.name}.safetensors"
    trained = [p for p in planned.parts.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.02)
    first = 0
    if state.exists():
        states.restore(planned.parts, optimizer, state)
        first = int(states.facts(state)["step"])
    total, start = 0.0, time.monotonic()
    for step in range(first, planned.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, planned.steps, planned.rate)
        optimizer.zero_grad(set_to_none=True)
        loss = planned.loss(step)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        total += float(loss.detach())
        if (step + 1) % EVERY and step + 1 < planned.steps:
            continue
        states.save(planned.parts, optimizer, state, {"step": str(step + 1)})
        line = {
            "part": planned.name,
            "step": step + 1,
            "loss": round(total / (step % EVERY + 1), 4),
            **{name: round(value, 4) for name, value in planned.check().items()},
            "seconds": round(time.monotonic() - start, 1),
        }
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        sys.stderr.write(json.dumps(line) + "\n")
        total, start = 0.0, time.monotonic()


def _rate(step: int, steps: int, top: float) -> float:
    """Return the learning rate: up during the first twentieth, then down along a cosine."""
    warm = max(steps // 20, 1)
    if step < warm:
        return top * (step + 1) / warm
    return top * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * (step - warm) / (steps - warm))))
