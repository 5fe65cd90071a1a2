"""What a person should know of a preset before it is used: that the network hardly follows what was marked, or does not
know such anatomy."""

from __future__ import annotations

from .preset import Preset
from .privacy import scrubbed

HARDLY = 0.6  # Dice in a reference's own scan below which little of a segment was found in others
ENOUGH = 3  # references of anatomy that the network does not know: on a heart kept from training, 66 % in place of 43


def caution(preset: Preset) -> str:
    """A sentence or two, without a patient's name: which segments the network finds too little of in the references'
    own scans, and that it does not know such anatomy; empty where neither is so, or known.

    Example::

        caution(preset)     # "Even in its own scan the network finds only part of 'duct' (31 %): ..."
    """
    return " ".join(words for words in (_hardly_found(preset), _unfamiliar(preset)) if words)


def _hardly_found(preset: Preset) -> str:
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


def _unfamiliar(preset: Preset) -> str:
    if preset.alterations == 0:
        return ""
    few = sum(r.enabled for r in preset.references) < ENOUGH
    more = f", and add references until there are {ENOUGH}: that helps most here" if few else ""
    return (
        "This is unlike what the network was trained on, so that a volume takes about "
        f"{1 + preset.alterations} times as long: look closely at every result{more}."
    )
