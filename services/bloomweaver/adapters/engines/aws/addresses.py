"""What a URL of an AWS backend says: `scheme://host/path?name=value`.

Every scheme understands the names in `ACCESS`; it adds its own. A URL identifies and never holds a secret: one with a
user, a password or an unknown name is refused, so that a misspelt setting cannot be overlooked.
"""

import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

ACCESS = ("region", "endpoint", "credentials_file", "profile", "ca_file")


@dataclass(frozen=True, slots=True)
class Access:
    """How the service is reached. None: what the platform says (environment, service account, instance).

    endpoint: where it is not AWS's own, for tests and private endpoints. credentials_file: a file in the shared
    format; it wins over the platform. profile: the section of it, else of the platform's own files. ca_file: the
    certificates of the authorities that are trusted, in PEM; without it the platform's (AWS_CA_BUNDLE).
    """

    region: str | None = None
    endpoint: str | None = None
    credentials_file: str | None = None
    profile: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart. options: what it says beside the access."""

    host: str
    path: str
    access: Access
    options: Mapping[str, str]


def parse(url: str, *, shape: str, options: Collection[str] = ()) -> Address:
    """The parts of a URL. shape: how a right one looks, for the refusal. ConfigurationError where it is not one."""
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:
        shown = f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}"
        raise refused(shown, "a URL never holds credentials; they come from the platform or a credentials_file")
    if not parts.netloc or parts.fragment:
        raise refused(url, f"write {shape}")
    try:
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise refused(url, "what follows the ? is not name=value&name=value") from None
    given = dict(pairs)
    known = (*ACCESS, *options)
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise refused(url, f"{unknown[0]!r} is no setting of it; known: {', '.join(known)}")
    if len(given) < len(pairs) or not all(given.values()):
        raise refused(url, "every setting has one value")
    access = Access(**{name: given[name] for name in ACCESS if name in given})
    rest = {name: value for name, value in given.items() if name not in ACCESS}
    return Address(parts.netloc, urllib.parse.unquote(parts.path).strip("/"), access, rest)


def in_region(address: Address) -> Access:
    """The access of a URL whose host is the region."""
    if address.access.region:
        raise refused(address.access.region, "the region is the first part of this URL, and cannot be said twice")
    return replace(address.access, region=address.host)


def flag(address: Address, name: str) -> bool:
    """A setting that is `true` or `false`; false where it is absent."""
    value = address.options.get(name, "false")
    if value not in ("true", "false"):
        raise refused(f"{name}={value}", "write true or false")
    return value == "true"


def refused(what: str, why: str) -> errors.ConfigurationError:
    """An address that cannot be used."""
    return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, f"{what!r}: {why}.")
