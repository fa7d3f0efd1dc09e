"""Every notebook of the documentation runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="needs the extra 'notebooks'")
nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebooks'")
pytest.importorskip("ipykernel", reason="needs the extra 'notebooks'")

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
pytestmark = pytest.mark.filterwarnings("default")  # of the kernel's client, which is not ours


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.md")))
def test_a_notebook_runs_to_its_end(name: str, tmp_path: Path) -> None:
    page = shutil.copy2(NOTEBOOKS / f"{name}.md", tmp_path)
    notebook = jupytext.read(page)
    done = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert len(cells) >= 4
    assert all(cell.execution_count for cell in cells)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
