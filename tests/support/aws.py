"""URLs of AWS backends that lead to a server on this machine, and credentials for it."""

import pathlib
import urllib.parse

ACCESS_KEY = "testaccess"
SECRET_KEY = "testsecret"


def credentials_file(folder: pathlib.Path, *, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> str:
    """A file in the shared format."""
    made = folder / f"credentials-{access_key}-{secret_key}"
    lines = ["[default]", f"aws_access_key_id = {access_key}", f"aws_secret_access_key = {secret_key}", ""]
    made.write_text("\n".join(lines), encoding="utf-8")
    return str(made)


def url(address: str, **settings: str) -> str:
    """The address with settings after the `?`."""
    return f"{address}?{urllib.parse.urlencode(settings)}"
