"""Stages on disk: numbered listings that load again."""

from __future__ import annotations

import os
from pathlib import Path

from irconv.graph import Graph
from irconv.ir_files import save_ir


def stage_name(index: int, pass_name: str) -> str:
    """The file name of a stage: only numbers and names of passes, nothing from the model."""
    return f"{index:02d}_{pass_name}.ir"


def dump_stage(
    folder: str | os.PathLike[str],
    index: int,
    pass_name: str,
    graph: Graph,
    *,
    provenance: bool = False,
) -> Path:
    """Writes one stage and its constants into `folder`, which is made if absent; gives the path."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = place / stage_name(index, pass_name)
    save_ir(graph, path, provenance=provenance)
    return path
