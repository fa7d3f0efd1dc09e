"""``ichor bundle import``: a published model becomes a bundle that needs the core alone."""

from __future__ import annotations

from pathlib import Path

from ichor.errors import UsageError

__all__ = ["PUBLISHED", "import_bundle"]

PUBLISHED = ("ipan", "blast-ct")
"""Models that are known by name."""


def import_bundle(source: str, folder: Path | None, output: Path, revision: str = "") -> Path:
    """Make a bundle of a published model.

    Parameters
    ----------
    source
        One of :data:`PUBLISHED`; or a folder with an ONNX graph and its ``model.yaml``, of a trained nnU-Net v2,
        or of a MONAI bundle.
    folder
        With the files of a model that is known by name; fetched from its hub where None.
    output
        Folder of the bundle.
    revision
        Of the publication: what is fetched, or what the folder holds.

    Returns
    -------
    pathlib.Path
        The bundle: not calibrated.

    Raises
    ------
    UsageError
        Where the source is not known, or its files are not there.
    BundleError
        Where a file is not what was published, or the graphs differ from the network.
    """
    from ichor.training.importing.publication import write_published
    from ichor.training.importing.weights import fetched, hashes

    if source in PUBLISHED:
        if folder is not None and not folder.is_dir():
            raise UsageError(
                f"{folder}: found no folder; expected the published files of {source}; see "
                "docs/how-to/use-open-weights.md"
            )
        if source == "blast-ct":
            from ichor.training.importing.blast_ct import fetched_weights, read_blast_ct, weight_files

            one = folder is None
            folder = folder or fetched_weights()
            # Its command takes the first network where it fetches them itself.
            names = weight_files(folder)[: 1 if one else None]
            return write_published(read_blast_ct(folder, names), output, hashes(folder, names), revision)
        from ichor.training.importing.ipan import FILES, REPOSITORY, read_ipan

        if folder is None:
            folder, revision = fetched(source, REPOSITORY, FILES, revision)
        files = hashes(folder, FILES)
        return write_published(read_ipan(folder), output, files, revision)
    if folder is None and Path(source).is_dir():
        from ichor.training.importing.monai_bundle import METADATA, import_monai
        from ichor.training.importing.nnunet import DATASET, PLANS, import_nnunet
        from ichor.training.importing.onnx_model import import_onnx

        if (Path(source) / PLANS).is_file() and (Path(source) / DATASET).is_file():
            return import_nnunet(Path(source), output)
        if (Path(source) / METADATA).is_file():
            return import_monai(Path(source), output)
        return import_onnx(Path(source), output)
    raise UsageError(
        f"{source!r}: found neither a known model nor a folder; expected one of {', '.join(PUBLISHED)}, or a folder "
        "with an ONNX graph and its model.yaml, of a trained nnU-Net v2, or of a MONAI bundle"
    )
