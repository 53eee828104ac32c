import json
import pathlib
import subprocess
import sys

import pydantic

SCRIPT = pathlib.Path(__file__).parents[2] / "services" / "sbom.py"


def made() -> str:
    site = pathlib.Path(pydantic.__file__).parents[1]
    command = [sys.executable, str(SCRIPT), "bloomweaver", str(site)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_bill_of_an_image_names_what_is_installed_and_is_the_same_each_time():
    bill = json.loads(made())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    names = {component["name"]: component for component in bill["components"]}
    assert names["pydantic"]["purl"] == f"pkg:pypi/pydantic@{pydantic.VERSION}"
    assert names["pydantic"]["licenses"] == [{"expression": "MIT"}]
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references))
