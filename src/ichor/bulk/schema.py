"""The form of a row, ``ichor.bulk/1``: said once, for Parquet, for the reference page and for whoever makes rows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ichor.detecting.out_of_distribution import QUANTITIES
from ichor.errors import UsageError
from ichor.labels import LABEL_NAMES

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "ASSESSED",
    "COLUMNS",
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "Column",
    "RowForm",
    "arrow_schema",
    "check_installed",
]

SCHEMA_VERSION = "ichor.bulk/1"
METADATA_KEY = b"ichor.schema"
"""Of the metadata of every Parquet file; its value is :data:`SCHEMA_VERSION`."""
_MISSING = (
    "bulk: found no package {name}; expected the extra 'scale'; in the clone, run pip install '.[scale]'"
)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name, type
        ``type`` in the words of :func:`arrow_schema`.
    meaning
        For the reference page.
    required
        Never null.
    """

    name: str
    type: str
    meaning: str
    required: bool = False


COLUMNS = (
    Column("unit", "string", "id of the input: of a DICOM study a hash of its UID, else of its place", True),
    Column(
        "row", "int32", "0, 1, ... of the results of one input: an archive may hold several studies", True
    ),
    Column("revision", "int32", "of several rows with the same unit and row, the highest holds", True),
    Column("source", "string", "hash of the names and sizes of the input's files", True),
    Column("input", "string", "place or places below the root", True),
    Column("state", "string", "`assessed`, `refused` or `failed`", True),
    Column(
        "code", "string", "why it was refused (notices.md) or failed (`error`, `worker_died`, `worker_lost`)"
    ),
    Column("message", "string", "the same as a sentence"),
    Column("kind", "string", "`exam` or `picture`; null where it is not known"),
    Column("study_uid", "string", "hashed"),
    Column("series_uid", "string", "hashed"),
    Column("n_slices", "int32", "of the series that was assessed"),
    Column("spacing_mm", "list of double", "between slices, between rows, between columns"),
    Column("probabilities", "labels", "of the exam; null where it was not assessed"),
    Column("thresholds", "labels", "from which on a label is positive"),
    Column("positive", "flags", "the verdicts"),
    Column(
        "subtypes", "list of subtype", "which to name, and which of them were measured on enough patients"
    ),
    Column("uncertain", "bool", "as `uncertain` of the findings"),
    Column("volume_ml", "double", "of all regions together"),
    Column("slices", "list of slice", "each native slice, towards the vertex"),
    Column("regions", "list of region", "each connected bleed"),
    Column("notices", "list of notice", "what was noticed of the input", True),
    Column("quantities", "quantities", "what the out-of-distribution check measured", True),
    Column(
        "stored", "bool", "whether the DICOM objects lie where they were to go; null where there are none"
    ),
    Column("engine", "string", "what ran the model; null where it failed"),
    Column("stage_seconds", "stages", "as `seconds` of the findings", True),
    Column("seconds", "double", "wall time of the input up to this row", True),
    Column("bytes", "int64", "of the input's files", True),
    Column("attempts", "int32", "how often the input was begun", True),
    Column("worker", "string", "machine and process that assessed it", True),
    Column("time", "timestamp", "when it was done, UTC", True),
    Column("bundle", "string", "sha256 of the model's bundle.json", True),
    Column("version", "string", "of ichor", True),
)


@dataclass(frozen=True)
class RowForm:
    """The form of the rows of an output.

    Attributes
    ----------
    version
        Stands in every part.
    columns
        Of a row; ``unit``, ``row``, ``revision``, ``source``, ``input``, ``state`` and ``code`` are among them.
    identity
        Column that has one value in all rows: what every worker must agree on.
    """

    version: str
    columns: tuple[Column, ...]
    identity: str

    def arrow_schema(self) -> pyarrow.Schema:
        """Return the schema of every part."""
        import pyarrow as pa

        fields = [pa.field(c.name, _types()[c.type], nullable=not c.required) for c in self.columns]
        return pa.schema(fields, metadata={METADATA_KEY: self.version.encode()})


ASSESSED = RowForm(SCHEMA_VERSION, COLUMNS, "bundle")
"""The rows of ``ichor bulk``."""


def check_installed(*names: str) -> None:
    """Check that the extra is there, before time is spent.

    Parameters
    ----------
    *names
        Packages of the extra that are needed; pyarrow always is.

    Raises
    ------
    UsageError
        Where one is not.
    """
    for name in ("pyarrow", *names):
        if find_spec(name) is None:
            raise UsageError(_MISSING.format(name=name))


def arrow_schema() -> pyarrow.Schema:
    """Return the schema of every part of ``ichor bulk``."""
    return ASSESSED.arrow_schema()


def _types() -> dict[str, Any]:
    import pyarrow as pa

    labels = pa.struct([(name, pa.float64()) for name in LABEL_NAMES])
    subtypes = pa.struct([(name, pa.float64()) for name in LABEL_NAMES[1:]])
    whole = pa.list_(pa.int32())
    region = [
        ("label", pa.string()),
        ("probabilities", subtypes),
        ("volume_ml", pa.float64()),
        ("slices", whole),
        ("bbox_mm", pa.list_(pa.float64())),
        ("bbox_voxels", whole),
    ]
    one_slice = [
        ("index", pa.int32()),
        ("position_mm", pa.float64()),
        ("sop_instance_uid", pa.string()),
        ("probabilities", labels),
    ]
    return {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "labels": labels,
        "flags": pa.struct([(name, pa.bool_()) for name in LABEL_NAMES]),
        "list of double": pa.list_(pa.float64()),
        "list of float": pa.list_(pa.float32()),
        "list of int": pa.list_(pa.int64()),
        "list of slice": pa.list_(pa.struct(one_slice)),
        "list of subtype": pa.list_(
            pa.struct(
                [
                    ("label", pa.string()),
                    ("likely", pa.bool_()),
                    ("trusted", pa.bool_()),
                    ("reason", pa.string()),
                ]
            )
        ),
        "list of region": pa.list_(pa.struct(region)),
        "list of notice": pa.list_(
            pa.struct([("code", pa.string()), ("message", pa.string()), ("slices", whole)])
        ),
        "quantities": pa.struct([(name, pa.float64()) for name in QUANTITIES]),
        "stages": pa.struct([(name, pa.float64()) for name in ("read", "prepare", "detect", "report")]),
    }
