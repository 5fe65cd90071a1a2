"""What leaves this computer: voxels, where they lie, and numbers of the network. Names stay here, and stand-ins go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..context.preset import DAMAGED, Preset, Reference, now, numbers, text, whole
from ..errors import IrisError
from ..imaging.volume import Segment, plain
from .messages import Message, get_array, path_in

STAND_IN = re.compile(r"#(\d+)#")
LONGEST = 1000  # characters of what a server may say at once


class Disguise:
    """One job, as a server may see it. What goes out is put together from what is known to be harmless; a field that
    nobody thought of stays here.

    :param message: of the client, with its files in ``folder``.
    :raises IrisError: for what a server cannot do, or a damaged preset.

    Example::

        disguise = Disguise(message, folder)
        answer = ask(disguise.sent)             # its error: IrisError(disguise.shown(sentence))
        done = disguise.restored(answer)        # as a worker of this computer would have answered
    """

    def __init__(self, message: Message, folder: Path) -> None:
        self._message, self._folder = message, folder
        self._names: list[str] = []
        if message.get("source"):
            raise IrisError(
                "Pools and memory banks stay on this computer, and a server does not see them; "
                "choose the strategy 'ensemble', or compute on this computer."
            )
        self.preset = Preset.load(path_in(folder, message["preset"])) if "preset" in message else None
        self.sent: Message = {"verb": message["verb"]}
        for key in ("strategy", "steps"):
            if key in message:
                self.sent[key] = message[key]
        if "name" in message:
            self.sent["name"] = self._hidden(message["name"])
        for key, out in (("image", self._image), ("segmentation", self._segmentation)):
            if key in message:
                self.sent[key] = out(message[key])
        if "scans" in message:
            self.sent["scans"] = [
                {"image": self._image(s["image"]), "segmentation": self._segmentation(s["segmentation"])}
                for s in message["scans"]
            ]
        if self.preset is not None:
            self.sent["preset"] = f"{message['job']}-sent.iris"
            self._stripped(self.preset).save(folder / self.sent["preset"])

    def shown(self, words: object) -> str:
        """A sentence of the server, with the names that stand-ins stand for."""

        def name(found: re.Match) -> str:
            number = int(found[1])
            return self._names[number] if number < len(self._names) else found[0]

        return STAND_IN.sub(name, plain(str(words))[:LONGEST])

    def restored(self, done: Message) -> Message:
        """The server's answer, whose files lie in the folder as well, for the client.

        :raises IrisError: when it is not an answer to what was asked.
        """
        kinds = {
            "encode": self._encoded, "segment": self._segmented, "measure": self._measured, "look": self._seen,
            "tune": self._tuned,
        }  # fmt: skip
        try:
            return kinds[self._message["verb"]](done)
        except (*DAMAGED, IrisError) as error:
            raise IrisError("The server's answer does not fit what was asked, so it was dropped; try again.") from error

    def _encoded(self, done: Message) -> Message:
        made = Preset.load(path_in(self._folder, done["preset"]))
        own = [Segment(**{**s, "color": tuple(s["color"])}) for s in self._message["segmentation"]["segments"]]
        words = tuple(Segment(s.name, s.color, s.terminology, 0, n + 1) for n, s in enumerate(own))
        if len(made.segments) != len(words) or len(made.references) != 1:
            raise ValueError("another preset")
        preset = replace(made, name=self._message["name"], segments=words, notes="", created=now(), history=())
        return {"preset": self._saved(preset)}

    def _segmented(self, done: Message) -> Message:
        assert self.preset is not None, "segmenting is by a preset"
        labels, scan = (get_array(self._folder, f) for f in (done["labels"], self._message["image"]["file"]))
        count, doubt = len(self.preset.segments), done["doubt"]
        values = get_array(self._folder, doubt["file"])
        if labels.shape != scan.shape or labels.dtype != np.uint8 or values.ndim != 3 or values.dtype != np.uint8:
            raise ValueError("other voxels")
        if int(labels.max()) > count or len(doubt["places"]) != count:
            raise ValueError("other segments")
        empty = done["left_empty"]
        if len(empty) != count or not all(isinstance(e, bool) for e in empty):
            raise ValueError("other segments")
        affine = [list(numbers(row, 4)) for row in doubt["affine"]]
        places = [list(numbers(place, 3)) for place in doubt["places"]]
        return {
            "labels": done["labels"],
            "doubt": {"file": doubt["file"], "affine": affine, "places": places},
            "confidence": list(numbers(done["confidence"], count)),
            "volumes_ml": list(numbers(done["volumes_ml"], count)),
            "left_empty": list(empty),
            "seconds": numbers([done["seconds"]], 1)[0],
        }

    def _measured(self, done: Message) -> Message:
        assert self.preset is not None, "measuring is of a preset"
        return {"dice": list(numbers(done["dice"], len(self.preset.segments)))}

    def _seen(self, done: Message) -> Message:
        return {"vector": list(numbers(done["vector"], len(done["vector"]))), "network": text(done["network"])}

    def _tuned(self, done: Message) -> Message:
        assert self.preset is not None, "tuning is of a preset"
        curve = list(numbers(done["curve"], len(done["curve"])))
        words = {"words": self.shown(done["words"]), "curve": curve, "steps": whole(done["steps"])}
        if not done["tuned"]:
            return {"preset": self._message["preset"], "tuned": False, **words}
        made = Preset.load(path_in(self._folder, done["preset"]))
        own = self.preset.references
        references = tuple(replace(r, levels=m.levels) for r, m in zip(own, made.references, strict=True))
        preset = replace(self.preset, references=references, tuning=made.tuning)
        return {"preset": self._saved(preset), "tuned": True, **words}

    def _saved(self, preset: Preset) -> str:
        name = f"{self._message['job']}-made.iris"
        preset.save(self._folder / name)
        return name

    def _hidden(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        return f"#{self._names.index(name)}#"

    def _image(self, image: Message) -> Message:
        return {"file": image["file"], "affine": image["affine"], "name": self._hidden(image["name"])}

    def _segmentation(self, segmentation: Message) -> Message:
        return {**self._image(segmentation), "segments": [self._segment(s) for s in segmentation["segments"]]}

    def _segment(self, segment: Message) -> Message:
        name = self._hidden(segment["name"])
        return {
            "name": name, "color": [0.0, 0.0, 0.0], "terminology": "", "layer": segment["layer"],
            "label": segment["label"],
        }  # fmt: skip

    def _stripped(self, preset: Preset) -> Preset:
        """What computing needs of it: no words, nothing of its scans' looks, nothing of its past."""
        segments = tuple(
            Segment(self._hidden(s.name), (0.0, 0.0, 0.0), "", 0, n + 1) for n, s in enumerate(preset.segments)
        )
        return Preset(
            self._hidden(preset.name), segments, _stripped(preset.references), preset.network, preset.preprocessing,
            spacing=preset.spacing, created="", tuning=preset.tuning,
        )  # fmt: skip


def _stripped(references: Sequence[Reference]) -> tuple[Reference, ...]:
    return tuple(
        Reference(
            r.levels, r.extent, r.enabled, r.places, found_again=r.found_again, found_altered=r.found_altered,
            class_vectors=r.class_vectors,
        )
        for r in references
    )
