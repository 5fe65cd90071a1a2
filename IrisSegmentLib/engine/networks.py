"""Other networks than the bundled one: the authors' public one from the web or from a file, or a file of our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import IrisError
from .progress import Progress

PUBLIC_PAGE = "https://huggingface.co/StanfordAIMI/MASS"
PUBLIC_ADDRESS = f"{PUBLIC_PAGE}/resolve/main/mass_base.pth"
PUBLIC_LICENSE = "MIT"


@dataclass(frozen=True)
class NetworkFile:
    """
    :param path: of a network that `Engine` can use.
    :param source_sha256: of the file that it was made of, or of itself.
    """

    path: Path
    name: str
    parameters: int
    source_sha256: str


def get_network(source: str, folder: Path, *, sha256: str = "", progress: Progress | None = None) -> NetworkFile:
    """A network from a web address, a public checkpoint or a network file, ready to use.

    A network file stays where it is; what is downloaded or converted is kept in ``folder``.

    :param sha256: what the source must be; unchecked when empty.
    :raises IrisError: when it cannot be had, has another checksum, or is no network.
    :raises Cancelled: when the progress was cancelled.
    """
    from ..network import load_network  # needs torch, which whoever only asks a worker need not import
    from ..network.public import import_public
    from ..network.weights import file_hash
    from .download import download, is_address

    progress = progress or Progress()
    path = Path(source)
    if is_address(source):
        path = download(source, folder, sha256=sha256, progress=progress)
    elif not path.is_file():
        raise IrisError(f"There is no file '{source}'; check its name and folder.")
    progress.report(1.0, f"Checking {path.name}")
    found = file_hash(path)
    if sha256 and found != sha256.strip().lower():
        raise IrisError(f"'{path.name}' has the checksum {found[:8]}..., not {sha256[:8]}...; choose the right file.")
    try:
        if path.suffix == ".safetensors":
            network = load_network(path)
        else:
            progress.report(1.0, f"Converting {path.name}")
            folder.mkdir(parents=True, exist_ok=True)
            converted = folder / f"{path.stem}.safetensors"
            network = import_public(path, converted)
            if is_address(source):
                path.unlink()
            path = converted
    except IrisError:
        if is_address(source):
            path.unlink(missing_ok=True)
        raise
    return NetworkFile(path, network.config.name, sum(p.numel() for p in network.parameters()), found)
