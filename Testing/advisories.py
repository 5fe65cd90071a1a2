"""Known holes in what this program needs, and the first versions without them.

Read by `make test` everywhere, also without the web; `make audit` asks the web for newer ones, which then belong here.
Last looked through: November 2026, in the advisories of PyPA, GitHub and the projects.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ADVISORIES: dict[str, dict[str, str]] = {  # by package: what is known, and the first version that is without it
    "torch": {"CVE-2025-32434": "2.6.0", "CVE-2026-24747": "2.10.0"},  # code from a checkpoint, despite weights_only
    "monai": {"GHSA-x6ww-pf9m-m73m": "1.5.1", "GHSA-6vm5-6jv9-rjpj": "1.5.1", "GHSA-89gg-p5r5-q6r4": "1.6.0"},
    "numpy": {"CVE-2021-41496": "1.19.0"},
    "pydicom": {"CVE-2026-32711": "3.0.2"},  # a DICOMDIR that leads out of its folder
    "pyarrow": {"CVE-2023-47248": "14.0.1", "CVE-2026-25087": "23.0.1"},
    "ray": {"CVE-2025-62593": "2.52.0", "CVE-2026-27482": "2.54.0"},
    "starlette": {"CVE-2025-62727": "0.49.1", "CVE-2026-48710": "1.0.1", "GHSA-82w8-qh3p-5jfq": "1.3.1"},
    "uvicorn": {"CVE-2020-7694": "0.11.7"},
    "h11": {"CVE-2025-43859": "0.16.0"},
    "scikit-learn": {"CVE-2024-5206": "1.5.0"},
    "scipy": {"CVE-2023-25399": "1.10.0"},
    "pillow": {"CVE-2024-28219": "10.3.0", "CVE-2026-40192": "12.2.0"},
    "joblib": {"CVE-2022-21797": "1.2.0"},
    "vtk": {"CVE-2021-42521": "9.0.1"},
    "tqdm": {"CVE-2024-34062": "4.66.3"},
    "requests": {"CVE-2023-32681": "2.31.0"},
    "urllib3": {"CVE-2023-45803": "2.0.7"},
    "aiohttp": {"CVE-2024-23829": "3.9.2"},
    "jinja2": {"CVE-2020-28493": "2.11.3"},
    "werkzeug": {"CVE-2023-46136": "3.0.1"},
    "setuptools": {"CVE-2022-40897": "65.5.1"},
}


def open_holes(package: str, found: str) -> list[str]:
    """The advisories that hold for a version of a package."""
    known = ADVISORIES.get(_named(package), {})
    return [name for name, fixed in known.items() if Version(found) < Version(fixed)]


def installed() -> dict[str, list[str]]:
    """Of the packages that are installed here, those that have holes, and which."""
    found: dict[str, list[str]] = {}
    for package in ADVISORIES:
        try:
            holes = open_holes(package, version(package))
        except PackageNotFoundError:
            continue
        if holes:
            found[package] = holes
    return found


def allowed(requirements: list[str]) -> dict[str, list[str]]:
    """Of requirements such as ``monai>=1.6``, those whose lowest version has holes or is not said, and which."""
    found: dict[str, list[str]] = {}
    for line in requirements:
        requirement = Requirement(line)
        lowest = [s.version for s in requirement.specifier if s.operator in (">=", "==", "~=")]
        if _named(requirement.name) in ADVISORIES:
            holes = open_holes(requirement.name, lowest[0]) if lowest else ["any version will do"]
            if holes:
                found[requirement.name] = holes
    return found


def listed(path: Path) -> list[str]:
    """The lines of a requirements file."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]


def _named(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
