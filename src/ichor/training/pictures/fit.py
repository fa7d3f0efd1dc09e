"""Fit the network that measures pictures, and write it for detection: resumable, one command.

Usage: python -m ichor.training.pictures.fit --data DIR --work DIR [--sources ct-ich,aisd,phe-sich] [--steps N]
       [--bodies DIR ...] [--photographs DIR]

A checkpoint lies in the work folder; a stopped run goes on from it. ``ichor.training.pictures.release`` writes what
detection opens.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ichor.datasets.registry import open_dataset
from ichor.detecting.grey_input import network_input
from ichor.training.pictures.network import PictureNet, loss
from ichor.training.pictures.others import OtherPictures, load_pictures
from ichor.training.pictures.rendering import render
from ichor.training.pictures.sources import HeadSlices, head_slices

__all__ = ["main"]

_BATCH = 32
_OTHERS_SHARE = 0.25
_RATE = 2e-3
_WARM_UP = 300
_EVERY = 100
_AVERAGED = 0.99
"""Decay of the moving average of the weights, which is what ships."""
_WEIGHTS = {"aisd": 5.0, "phe-sich": 0.4}
"""How much more often a slice of a data set is drawn: three exams teach another scanner, others many alike."""


class _Pictures(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches without end, each drawn from a generator of its own number: a resumed run goes on with the next."""

    def __init__(self, heads: HeadSlices, others: OtherPictures, start: int, stop: int) -> None:
        self._heads, self._others = heads, others
        self._start, self._stop = start, stop
        weight = np.array([_WEIGHTS.get(name, 1.0) for name in heads.source])
        weight[heads.brain == 0] *= 4  # few slices show none
        self._chance = weight / weight.sum()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches from the next one on."""
        for number in range(self._start, self._stop):
            rng = np.random.default_rng([7, number])
            rows = [self._one(rng) for _ in range(_BATCH)]
            yield (
                torch.from_numpy(np.stack([row[0] for row in rows])),
                torch.tensor([row[1] for row in rows], dtype=torch.float32),
            )

    def _one(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], tuple[float, ...]]:
        nan = float("nan")
        if rng.random() < _OTHERS_SHARE:
            return network_input(self._others.draw(rng)), (nan, nan, nan, 0.0, nan)
        heads, at = self._heads, int(rng.choice(len(self._heads.hu), p=self._chance))
        low, high = heads.ranges[at]
        known = bool(heads.known[at])
        drawn = render(heads.hu[at], (float(low), float(high)), rng, known=known)
        linear = float(drawn.linear) if known else nan
        brain = float(heads.brain[at])
        return network_input(drawn.grey), (drawn.log_width, drawn.place, linear, 1.0, brain)


def main() -> None:
    """Run the command."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--data", type=Path, required=True, help="folder with one sub-folder a data set")
    arguments.add_argument("--work", type=Path, required=True, help="where slices and checkpoints are kept")
    arguments.add_argument("--sources", default="ct-ich,aisd,phe-sich", help="data sets of heads")
    arguments.add_argument("--steps", type=int, default=1900)
    arguments.add_argument("--name", default="picture", help="of the checkpoint")
    arguments.add_argument(
        "--bodies", type=Path, action="append", default=[], help="DICOM of what is no head"
    )
    arguments.add_argument("--photographs", type=Path, help="pictures of anything but a head CT")
    options = arguments.parse_args()
    heads = head_slices(
        [open_dataset(name, options.data) for name in options.sources.split(",")], options.work / "heads"
    )
    bodies = [plane for folder in options.bodies for plane in dicom_planes(folder)]
    pictures = load_pictures(options.photographs) if options.photographs else []
    print(f"{len(heads.hu):,} heads, {len(bodies)} bodies, {len(pictures)} other pictures", flush=True)
    fit(heads, OtherPictures(heads, bodies, pictures), options.work / f"{options.name}.pt", options.steps)


def fit(heads: HeadSlices, others: OtherPictures, checkpoint: Path, steps: int) -> PictureNet:
    """Fit the network, or go on with it.

    Parameters
    ----------
    heads, others
        What pictures are drawn from.
    checkpoint
        Where weights are kept every so many steps.
    steps
        In all.

    Returns
    -------
    PictureNet
        With the averaged weights, in evaluation mode.
    """
    torch.manual_seed(7)
    torch.set_num_threads(1)  # the other core renders
    network, averaged = PictureNet(), PictureNet()
    averaged.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-3)
    parts: dict[str, Any] = {"network": network, "averaged": averaged, "optimiser": optimiser}
    done = 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        done = int(kept.pop("done"))
        for name, part in parts.items():
            part.load_state_dict(kept[name])
    began, losses = time.perf_counter(), []
    network.train()
    loader = DataLoader(
        _Pictures(heads, others, done, steps), batch_size=None, num_workers=1, prefetch_factor=4
    )
    for step, (pictures, truth) in enumerate(loader, start=done + 1):
        torch.manual_seed(step)  # what is dropped out: a resumed run goes on as one that was not stopped
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, step / _WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
        value = loss(network(pictures), truth)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _average(averaged, network, min(_AVERAGED, step / (step + 10)))
        losses.append(value.item())
        if step % _EVERY == 0 or step == steps:
            print(f"{step} {np.mean(losses[-_EVERY:]):.3f} {time.perf_counter() - began:.0f} s", flush=True)
            partial = checkpoint.with_suffix(".part")
            torch.save({"done": step} | {name: part.state_dict() for name, part in parts.items()}, partial)
            partial.replace(checkpoint)
    return averaged.eval()


def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for kept, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


def dicom_planes(folder: Path) -> list[NDArray[np.int16]]:
    """Read every single-frame image below a folder in HU, whatever its header calls it."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = pydicom.dcmread(path, force=True)
                pixels = data.pixel_array.astype(np.float32)
        except Exception:  # whatever pydicom cannot read teaches nothing
            continue
        if pixels.ndim == 2:
            hu = pixels * float(data.get("RescaleSlope", 1) or 1) + float(
                data.get("RescaleIntercept", 0) or 0
            )
            found.append(np.clip(hu, -1024, 3071).astype(np.int16))
    return found


if __name__ == "__main__":
    main()
