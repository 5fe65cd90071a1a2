"""The license of every package that this program needs, as the packages themselves say; `make licences`."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Names of all packages that a package needs, with those that they need; without those that are not installed."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        package, wanted = waiting.pop()
        for line in distribution(package).requires or []:
            if (extra := re.search(r"extra == ['\"]([\w-]+)['\"]", line)) and extra.group(1) not in wanted:
                continue
            match = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", line)
            assert match is not None, line
            other = re.sub(r"[-_.]+", "-", match.group(1)).lower()
            try:
                distribution(other)
            except PackageNotFoundError:  # of another system, or an extra that was not asked for
                continue
            asked = tuple(match.group(2).split(",")) if match.group(2) else ()
            if other not in found or asked:
                if other == name and set(asked) <= set(wanted):
                    continue
                found.add(other)
                waiting.append((other, (*asked, *wanted) if other == name else asked))
    return found - {name}


def license_of(name: str) -> str:
    """In the fewest words that the package has for it."""
    words = distribution(name).metadata
    if words["License-Expression"]:
        return str(words["License-Expression"])
    classified = [c.rpartition(":: ")[2] for c in words.get_all("Classifier") or [] if c.startswith("License ::")]
    if classified and classified != ["OSI Approved"]:
        return ", ".join(classified)
    return str(words["License"] or "not said").splitlines()[0]


if __name__ == "__main__":
    runtime = needed("irissegment")
    for part, names in (("at run time", runtime), ("for tests", needed("irissegment", ("test",)) - runtime)):
        print(part)
        for package in sorted(names):
            print(f"  {package:28} {distribution(package).version:16} {license_of(package)}")
