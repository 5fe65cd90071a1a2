"""Package installation as it behaves in testing mode: nothing is ever installed."""

from pathlib import Path


def load_requirements(path: str) -> list[str]:
    lines = Path(path).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def pip_ensure(requirements: list[str], requester: str = "", **_: object) -> None:
    return None
