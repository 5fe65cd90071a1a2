"""What a person should know of a preset before it is used: that the network hardly follows what was marked."""

from __future__ import annotations

from .preset import Preset
from .privacy import scrubbed

HARDLY = 0.6  # Dice in a reference's own scan below which little of a segment was found in others


def caution(preset: Preset) -> str:
    """A sentence that names, without a patient's name, the segments of which the network finds too little in the
    references' own scans; empty where there is none, or it is not known.

    Example::

        caution(preset)     # "Even in its own scan the network finds only part of 'duct' (31 %): ..."
    """
    known = zip(preset.segments, preset.found_again(), strict=True)
    poor = [(scrubbed(s.name) or "segment", dice) for s, dice in known if dice is not None and dice < HARDLY]
    hardly = [f"'{name}' ({100 * dice:.0f} %)" for name, dice in poor]
    if not hardly:
        return ""
    them = "it" if len(hardly) == 1 else "them"
    return (
        f"Even in its own scan the network finds only part of {', '.join(hardly)} again: expect little of {them} "
        "elsewhere, look closely at every result, and add references."
    )
