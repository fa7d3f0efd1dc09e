"""Compare blast-ct, imported, with its own command: seconds, memory, and every voxel.

Usage: python -m benchmarks.speed.blast_ct EXAM

EXAM is a folder or file of an exam with even, straight slices. The weights cannot be had everywhere, and time does not
depend on them: one network of the published architecture with random weights is saved in the published layout. Its own
command (extra ``blast-ct``) and the bundle, in ONNX Runtime and in OpenVINO where that is installed, then run over the
same exam, each in a process of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

import ichor
from benchmarks.shared.arguments import parser
from benchmarks.shared.processes import timed
from benchmarks.shared.tables import heading, row
from ichor.detecting import Detector
from ichor.detecting.openvino_session import is_installed
from ichor.detecting.volume_model import VolumeModel
from ichor.exam import Exam
from ichor.preparing import prepare
from ichor.training.importing.calls import import_bundle

_OWN = "from blast_ct.console_tool import console_tool; console_tool()"


def main() -> None:
    arguments = parser(__doc__, data=False)
    arguments.add_argument("exam", type=Path)
    arguments.add_argument(
        "--measure", nargs=3, metavar=("BUNDLE", "ENGINE", "OUTPUT"), help="of the bundle's process"
    )
    given = arguments.parse_args()
    if given.measure:
        _measure(given.exam, *given.measure)
        return
    exam = _read(given.exam)  # first: what cannot be read must not cost an import
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        weights = home / "cache" / "saved_models"
        publish(weights)
        import_bundle("blast-ct", weights, home / "bundle")
        image = home / "exam.nii.gz"
        # ITK counts x to the left and y to the back: the image lies as it does, with no axis turned.
        rows, columns = exam.geometry.spacing
        affine = np.diag([-columns, -rows, exam.geometry.slice_step, 1.0])
        nib.save(nib.Nifti1Image(exam.volume.transpose(2, 1, 0).astype(np.float32), affine), image)
        own = home / "own.nii.gz"
        command = [sys.executable, "-c", _OWN, "--input", str(image), "--output", str(own)]
        own_seconds, own_memory = timed(command, os.environ | {"BLAST_CT_CACHE_DIR": str(home / "cache")})
        heading("", "seconds, all in all", "memory, GB", "voxels of another class")
        row("blast-ct's own command", f"{own_seconds:.1f}", f"{own_memory / 1000:.2f}")
        expected = np.asarray(nib.Nifti1Image.from_filename(own).dataobj).transpose(2, 1, 0)
        for engine in ("onnxruntime", *["openvino"] * is_installed()):
            command = [sys.executable, "-m", "benchmarks.speed.blast_ct", str(image)]
            command += ["--measure", str(home / "bundle"), engine, str(home / "ours.npy")]
            seconds, memory = timed(command)
            differing = int((np.load(home / "ours.npy") != expected).sum())
            figures = f"{seconds:.1f}", f"{memory / 1000:.2f}", f"{differing} of {expected.size}"
            row(f"the bundle, {engine}", *figures)
        print(f"\nclasses found: {np.unique(expected).astype(int).tolist()}")


def publish(folder: Path) -> None:
    """Save one network with random weights as it is published."""
    from blast_ct.models.deepmedic import DeepMedic

    torch.manual_seed(0)
    network = DeepMedic(input_channels=1, num_classes=5)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d) and layer.running_mean is not None:
            layer.running_mean.uniform_(-0.1, 0.1)
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model_1.torch_model")


def _read(path: Path) -> Exam:
    found = ichor.read(path)
    if not isinstance(found, Exam):
        raise SystemExit(f"{path}: found a picture; expected an exam")
    return found


def _measure(path: Path, bundle: str, engine: str, output: str) -> None:
    """Detect with the bundle, and save the class of each native voxel, the nearest one of the network's."""
    exam = _read(path)
    detector = Detector(bundle, device="cpu", engine=engine)
    model = detector.model
    if not isinstance(model, VolumeModel):
        raise SystemExit(f"{bundle}: found a model of slices; expected one of volumes")
    prepared = prepare(exam, detector.bundle.manifest.preparation)
    classes = model.classes(prepared.stack).argmax(axis=0)
    steps = (exam.geometry.slice_step, *exam.geometry.spacing)
    np.save(output, nearest(classes, exam.volume.shape, steps))


def nearest(classes: NDArray[np.intp], shape: tuple[int, ...], mm: tuple[float, ...]) -> NDArray[np.intp]:
    """Carry classes on voxels of 1 mm to native ones, 0 beyond them, as blast-ct does."""
    for axis, (n, side) in enumerate(zip(shape, mm, strict=True)):
        at = np.floor(np.arange(n) * side + 0.5).astype(int)
        room = [(0, max(0, int(at[-1]) + 1 - classes.shape[a])) if a == axis else (0, 0) for a in range(3)]
        classes = np.take(np.pad(classes, room), at, axis=axis)
    return classes


if __name__ == "__main__":
    main()
