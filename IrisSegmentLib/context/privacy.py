"""Words that a preset may keep: what names a patient, a study or a place on a disk is taken out of them."""

from __future__ import annotations

import re

PATIENT = r"[^\W\d_][\w'\-]*(?:\^[\w'\-]*)+"  # as DICOM writes names: Family^Given
IDENTIFIER = r"\d+(?:\.\d+){4,}"  # as DICOM writes UIDs
PATH = r"(?<!\S)(?:~|[A-Za-z]:)?(?:[\\/][^\s\\/]+){2,}[\\/]?"
TOLD = re.compile(f"{PATIENT}|{IDENTIFIER}|{PATH}")


def scrubbed(words: str) -> str:
    """The words without names as DICOM writes them, UIDs and file paths.

    Example::

        scrubbed("Liver of Doe^Jane 1.2.840.113619.2.55 from /data/doe/ct")   # "Liver of from"
    """
    if not TOLD.search(words):
        return words
    return re.sub(r"[ \t]{2,}", " ", TOLD.sub("", words)).strip()
