"""Networks over whole volumes, as frameworks for segmentation use them, with random weights: for their time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["PEERS", "Peer", "seconds"]


@dataclass(frozen=True)
class Peer:
    """A network and how it goes over an exam.

    Attributes
    ----------
    name
        For the table.
    make
        Builds it.
    exam
        ``(slices, rows, columns)`` of a head of 30 slices of 5 mm at the spacing that it works at.
    patch
        Of each call.
    step
        From patch to patch, as a share of it.
    """

    name: str
    make: type[nn.Module]
    exam: tuple[int, int, int]
    patch: tuple[int, int, int]
    step: float

    @property
    def patches(self) -> int:
        """How many cover an exam."""
        return math.prod(
            max(0, math.ceil((size - side) / (side * self.step))) + 1
            for size, side in zip(self.exam, self.patch, strict=True)
        )


def seconds(peer: Peer, repeats: int = 2) -> float:
    """Return the seconds for an exam: the fastest patch, times the number of patches."""
    torch.manual_seed(0)
    network = peer.make().eval()
    patch = torch.rand(1, 1, *peer.patch)
    taken = []
    with torch.inference_mode():
        for _ in range(repeats):
            began = time.perf_counter()
            network(patch)
            taken.append(time.perf_counter() - began)
    return min(taken) * peer.patches


def _two(
    channels: int, out: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    padding = kernel[0] // 2, kernel[1] // 2, kernel[2] // 2
    for first, own in ((channels, stride), (out, (1, 1, 1))):
        layers += [
            nn.Conv3d(first, out, kernel, own, padding),
            nn.InstanceNorm3d(out, affine=True),
            nn.LeakyReLU(),
        ]
    return nn.Sequential(*layers)


class PlainUNet(nn.Module):
    """As nnU-Net plans one for slices that are much thicker than pixels: two convolutions a stage, 6 stages."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 320, 320)
        kernels = [(1, 3, 3), (1, 3, 3), *[(3, 3, 3)] * 4]
        strides = [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)]
        self.down = nn.ModuleList(
            _two(before, out, kernel, stride)
            for before, out, kernel, stride in zip((1, *widths), widths, kernels, strides, strict=False)
        )
        back = list(zip(widths[1:], widths, strides[1:], kernels, strict=False))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose3d(deep, flat, s, s) for deep, flat, s, _ in back)
        self.mix = nn.ModuleList(_two(2 * flat, flat, k, (1, 1, 1)) for _, flat, _, k in back)
        self.last = nn.Conv3d(widths[0], 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict voxels."""
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        for up, mix, skip in zip(self.up, self.mix, skips[-2::-1], strict=True):
            x = mix(torch.cat([up(x), skip], 1))
        found: Tensor = self.last(x)
        return found


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (nn.GroupNorm(8, width), nn.ReLU(), nn.Conv3d(width, width, 3, 1, 1, bias=False))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.body(x)
        return found


class ResidualNet(nn.Module):
    """As MONAI's SegResNet by default, with 16 filters at first: residual blocks, 1, 2, 2 and 4 a stage."""

    def __init__(self) -> None:
        super().__init__()
        widths, blocks = (16, 32, 64, 128), (1, 2, 2, 4)
        self.first = nn.Conv3d(1, widths[0], 3, 1, 1, bias=False)
        self.down = nn.ModuleList()
        for k, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            halved = [nn.Conv3d(widths[k - 1], width, 3, 2, 1, bias=False)] if k else []
            self.down.append(nn.Sequential(*halved, *(_Residual(width) for _ in range(count))))
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(deep, flat, 1, bias=False),
                nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False),
            )
            for deep, flat in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.mix = nn.ModuleList(_Residual(width) for width in widths[-2::-1])
        self.last = nn.Sequential(nn.GroupNorm(8, widths[0]), nn.ReLU(), nn.Conv3d(widths[0], 6, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Predict voxels."""
        x, skips = self.first(x), []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        for up, mix, skip in zip(self.up, self.mix, skips[-2::-1], strict=True):
            x = mix(up(x) + skip)
        found: Tensor = self.last(x)
        return found


PEERS = (
    # At the spacing of the scan; nnU-Net's steps are half a patch.
    Peer("nnU-Net-like", PlainUNet, (30, 512, 512), (20, 256, 256), 0.5),
    # At 1 mm; MONAI's sliding window overlaps by a quarter.
    Peer("SegResNet-like", ResidualNet, (150, 230, 230), (96, 96, 96), 0.75),
)
