"""A training step of the default on a CPU, with depthwise convolutions in fp32 and in bf16.

Usage: python -m benchmarks.speed.step [--steps N]

Forward and backward pass of the default's network, from random weights, on a batch of random slices, under bf16
autocast and channels_last as in training, at both sizes that the recipe trains at. The two take turns; medians, and
their ratio. Nothing else should run on the machine.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from benchmarks.shared.arguments import parser
from benchmarks.shared.tables import heading, row
from ichor.models import build_network
from ichor.training.module import depthwise_in_fp32
from ichor.training.recipe import load_recipe

WAYS = ("depthwise in fp32", "all in bf16")


def main() -> None:
    arguments = parser(__doc__, data=False)
    arguments.add_argument("--steps", type=int, default=6)
    steps = arguments.parse_args().steps
    recipe = load_recipe("default")
    preparation = recipe.preparation
    heading("slices", *(f"{way}, seconds a step" for way in WAYS), "ratio")
    for scale in (recipe.small_scale, 1.0):
        rows, columns = (32 * round(side * scale / 32) for side in (preparation.rows, preparation.columns))
        shape = (recipe.batch_size, len(preparation.channels), rows, columns)
        slices = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        networks = {}
        for way in WAYS:
            model = recipe.model.model_copy(update={"pretrained": False})
            networks[way] = build_network(model, shape[1], (rows, columns)).train()
            networks[way].to(memory_format=torch.channels_last)
        depthwise_in_fp32(networks[WAYS[0]])
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(steps + 1):
            for way, network in networks.items():
                seconds[way].append(step(network, slices))
        # The first step of each plans its kernels.
        medians = [statistics.median(seconds[way][1:]) for way in WAYS]
        ratio = f"{medians[0] / medians[1]:.2f}"
        row(f"{recipe.batch_size} of {rows} x {columns}", *(f"{m:.2f}" for m in medians), ratio)


def step(network: nn.Module, slices: torch.Tensor) -> float:
    """Time one forward and backward pass."""
    began = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sum(out.float().square().mean() for out in network(slices))
    loss.backward()
    network.zero_grad(set_to_none=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
