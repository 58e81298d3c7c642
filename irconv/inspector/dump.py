"""Stages on disk: numbered listings that load again, and from which a lowering goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from irconv.errors import UsageError, printable
from irconv.graph import Graph
from irconv.ir_files import load_ir, save_ir
from irconv.pipeline import Pass


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


def resume(
    folder: str | os.PathLike[str], index: int, passes: Sequence[Pass]
) -> tuple[Graph, tuple[Pass, ...]]:
    """The graph of stage `index` in `folder` as it stands there now, and the passes after it.

    Stage 0 is the source, stage k the graph after the k-th of `passes`. Raises UsageError where the
    folder has no such stage of this pipeline, and what `load_ir` raises for a wrong listing.
    """
    if not 0 <= index <= len(passes):
        raise UsageError("no such stage", expected=f"0 to {len(passes)}", got=index)
    names = ["source", *(p.name for p in passes)]
    path = Path(folder) / stage_name(index, names[index])
    if not path.is_file():
        present = sorted(p.name for p in Path(folder).glob(f"{index:02d}_*.ir"))
        raise UsageError(
            "the folder has no such stage of this pipeline",
            where=printable(folder),
            expected=path.name,
            got=", ".join(map(printable, present)) or "none of this number",
            hint="irconv opt -p PIPELINE --dump-stages writes them",
        )
    return load_ir(path), tuple(passes[index:])
