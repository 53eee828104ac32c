"""What is in an image, as CycloneDX 1.6 on stdout: every Python distribution, and every Debian package of the base.

    python sbom.py NAME FOLDER...      FOLDER is a `site-packages`; run by the build of an image, in its base

Names, versions and licences are those that the packages tell of themselves, so the list is what is there.
"""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

Component = dict[str, object]


def distributions(folders: Sequence[str]) -> Iterator[Component]:
    """Python's."""
    for found in importlib.metadata.distributions(path=list(folders)):
        name = found.metadata["Name"].lower().replace("_", "-")
        made: Component = {"type": "library", "name": name, "version": found.version}
        licence = found.metadata.json.get("license_expression")
        if licence:
            made["licenses"] = [{"expression": licence}]
        yield made | {"purl": f"pkg:pypi/{name}@{found.version}", "bom-ref": f"pypi/{name}"}


def packages() -> Iterator[Component]:
    """Debian's; none where there is no dpkg."""
    query = shutil.which("dpkg-query")
    if query is None:
        return
    listed = subprocess.run(  # noqa: S603 - a fixed command
        [query, "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in listed.stdout.splitlines():
        name, version, architecture = line.split()
        purl, ref = f"pkg:deb/debian/{name}@{version}?arch={architecture}", f"deb/{name}:{architecture}"
        yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": ref}


def bill(name: str, components: Sequence[Component]) -> dict[str, object]:
    """The document. No time and no random number in it: equal images have equal bills."""
    about = {"component": {"type": "container", "name": name, "bom-ref": "image"}}
    listed = sorted(components, key=lambda each: str(each["bom-ref"]))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about, "components": listed}


if __name__ == "__main__":
    image, *paths = sys.argv[1:]
    json.dump(bill(image, [*distributions(paths), *packages()]), sys.stdout, indent=1)
