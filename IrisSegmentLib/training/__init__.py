"""Train the network: episodes from real scans, synthetic tasks, augmentation, and a loop that can be resumed."""

from .loop import cli_arguments, run

__all__ = ["cli_arguments", "run"]
