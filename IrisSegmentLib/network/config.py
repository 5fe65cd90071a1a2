"""One network, four sizes. A configuration is a set of switches; every number of the paper is one of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class NetworkConfig:
    """
    :param channels: of the encoder's levels, shallow to deep; each level halves the grid.
    :param blocks: residual blocks of each level after the first.
    :param stem_stride: 1, the first level keeps every voxel; 2, eight voxels become eight channels and nothing is
        lost, and no full-resolution feature map is ever made.
    :param stages: how many of the deepest decoder scales meet the task embedding (Eq. 5).
    :param tokens: learned query tokens per scale, m of the paper; the foreground token joins them. With none, the
        foreground token is all that is known of a class (an ablation).
    :param foreground: whether there is a foreground token (Eq. 2); without it, the query tokens are all.
    :param attention_blocks: blocks of the task encoder and of the fusion at each scale.
    :param mask_fusion: ``"linear"``, Eq. 3 and 4 as the paper writes them, in their exact low-resolution form;
        ``"published"``, the authors' released form with norm, ReLU, a 3x3x3 convolution and a positional map.
    :param finest: sub-voxels that the linear form keeps along each axis of a cell; wider cells average their mask. 1 is
        a mask at the resolution of the features (an ablation).
    :param head: ``"place"``, per-class maps at stride 4 and 2; ``"dot"``, one dot product with the last feature map,
        as the authors released it.
    :param align_corners: how features are up-sampled.
    :param shortcut: kernel of the residual shortcut where channels change.
    :param narrow: halve the deep features by a 1x1x1 convolution before they are up-sampled.
    :param position: add the place within the window to the two deepest levels.
    :param affinity: length of the keys of the dense affinity to the reference; 0 for none.
    :param bank: rows of the class memory bank.
    """

    name: str
    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    stem_stride: int = 1
    stages: int = 3
    tokens: int = 10
    attention_blocks: int = 2
    mask_fusion: str = "linear"
    finest: int = 16
    head: str = "dot"
    align_corners: bool = True
    shortcut: int = 3
    narrow: bool = False
    position: bool = False
    affinity: int = 0
    bank: int = 0
    foreground: bool = True

    @property
    def key_length(self) -> int:
        """Numbers per key of the affinity, of which three are its cell's place; 0 without affinity."""
        return self.affinity + 3 if self.affinity else 0

    @property
    def published(self) -> bool:
        """Whether this is a network of the authors' public form, trained by them on inputs prepared in their way."""
        return self.mask_fusion == "published"

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, object]) -> NetworkConfig:
        """:raises ValueError: for fields that are not those of this version."""
        fields = set(cls.__dataclass_fields__)
        if not fields - ADDED <= set(values) <= fields:
            raise ValueError("not the fields of a network configuration of this version")
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        for name, value in lists.items():
            _check(name, value)
        return cls(**lists)  # type: ignore[arg-type]


def _check(name: str, value: object) -> None:
    """:raises ValueError: for a value from a file that no network could have."""
    if name == "name":
        fits = isinstance(value, str) and len(value) <= 100
    elif name in WORDS:
        fits = value in WORDS[name]
    elif name in LISTS:
        most = MOST.get(name, 1024)
        fits = isinstance(value, tuple) and 0 < len(value) <= 8 and all(type(v) is int and 0 < v <= most for v in value)
    elif isinstance(NetworkConfig.__dataclass_fields__[name].default, bool):
        fits = isinstance(value, bool)
    else:
        fits = type(value) is int and 0 <= value <= MOST.get(name, 1024)
    if not fits:
        raise ValueError(f"no network has such a {name}")


WORDS = {"mask_fusion": ("linear", "published"), "head": ("place", "dot")}  # fields that are one of a few words
MOST = {"blocks": 16, "attention_blocks": 16, "stem_stride": 2}  # of others a layer may be wide, not deep
LISTS = ("channels", "blocks")  # and those that are a number per level
ADDED = {"foreground"}  # fields that the files of earlier versions lack; their default is what those networks are

_LEAN = NetworkConfig(
    "",
    (),
    (1, 1, 1),
    stem_stride=2,
    stages=2,
    attention_blocks=1,
    finest=8,
    head="place",
    align_corners=False,
    shortcut=1,
    narrow=True,
    position=True,
    affinity=64,
)
_PUBLISHED = NetworkConfig("", (), (2, 2, 2, 2), mask_fusion="published", bank=73)

CONFIGS: dict[str, NetworkConfig] = {
    "small": replace(_LEAN, name="small", channels=(32, 48, 96, 192)),
    "tiny": replace(_LEAN, name="tiny", channels=(8, 16, 32, 32)),
    "paper": NetworkConfig("paper", (32, 64, 128, 256, 320), (2, 2, 2, 2)),
    "mass": replace(_PUBLISHED, name="mass", channels=(32, 64, 128, 256, 512)),
    "mass-tiny": replace(_PUBLISHED, name="mass-tiny", channels=(32, 32, 64, 64, 96), blocks=(1, 2, 1, 2)),
}
