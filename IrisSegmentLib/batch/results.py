"""The results of a run as one table: Parquet, a row per case, the least certain first."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ..context.preset import Preset, write_whole
from .outcome import DONE, Outcome

NAME = "results.parquet"


def ordered(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those set aside first, then the least certain."""
    return sorted(outcomes, key=lambda o: (o.state == DONE, o.worst, o.case))


def write_results(outcomes: Sequence[Outcome], preset: Preset, folder: Path) -> None:
    """Columns: case, image, state, reason, confidence (the least of its segments), seconds, identity, sha256 of the
    result; and, per segment, ``confidence NAME``, ``volume_ml NAME`` and ``note NAME``, empty where a case was set
    aside.

    :raises IrisError: when the folder cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = ordered(outcomes)
    done = [o.state == DONE for o in rows]
    columns: dict[str, pa.Array] = {
        "case": pa.array([o.case for o in rows], pa.string()),
        "image": pa.array([o.image for o in rows], pa.string()),
        "state": pa.array([o.state for o in rows], pa.string()),
        "reason": pa.array([o.reason for o in rows], pa.string()),
        "confidence": pa.array([o.worst if d else None for o, d in zip(rows, done, strict=True)], pa.float64()),
        "seconds": pa.array([o.seconds if d else None for o, d in zip(rows, done, strict=True)], pa.float64()),
        "identity": pa.array([o.identity for o in rows], pa.string()),
        "sha256": pa.array([o.result if d else "" for o, d in zip(rows, done, strict=True)], pa.string()),
    }
    for n, segment in enumerate(preset.segments):
        name = segment.name if f"volume_ml {segment.name}" not in columns else f"{segment.name} ({n + 1})"
        for column, kind in (("confidence", "confidence"), ("volume_ml", "volumes_ml")):
            values = [getattr(o, kind)[n] if d else None for o, d in zip(rows, done, strict=True)]
            columns[f"{column} {name}"] = pa.array(values, pa.float64())
        notes = [o.notes[n] if d else None for o, d in zip(rows, done, strict=True)]
        columns[f"note {name}"] = pa.array(notes, pa.string())
    table = pa.table(columns).replace_schema_metadata({"network": preset.network, "preset": preset.name})
    file = io.BytesIO()
    pq.write_table(table, file)
    write_whole(folder / NAME, file.getvalue())
