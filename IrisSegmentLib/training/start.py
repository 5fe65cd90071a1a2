"""A run that begins with what an earlier network learned."""

from __future__ import annotations

from pathlib import Path

from ..errors import IrisError
from ..network import Iris, load_network


def begin_with(network: Iris, path: Path) -> None:
    """Give a network the weights of a file.

    :raises IrisError: for a file that is no network, or one of another configuration.

    Example::

        begin_with(build("small"), bundled_weights())
    """
    known = load_network(path)
    if known.config != network.config:
        raise IrisError(f"'{path}' is a network of another kind than '{network.config.name}'; choose another.")
    network.load_state_dict(known.state_dict())
