"""Archives of any size, assessed by many processes or machines: one row a study, in Parquet files.

Needs the extra ``scale`` (pyarrow; ray for a cluster), which is loaded when rows are written or read.
"""

from __future__ import annotations

from ichor.bulk.schema import SCHEMA_VERSION, check_installed
from ichor.bulk.units import Unit

__all__ = ["SCHEMA_VERSION", "Unit", "check_installed"]
