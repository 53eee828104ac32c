"""Where a request that we make may go: never to an address that only means something inside of this network.

What is fetched by a URL (a model from a hub) comes with redirects that others write. Each hop is resolved once, every
address that it resolves to has to be a public one, and the connection goes to the address that was looked at, so that a
name cannot mean something else a moment later; TLS still checks the name. Hosts that an operator has named are trusted.
"""

import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Final

import httpx2

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

Resolve = Callable[[str, int], Sequence[str]]

_PORTS: Final = {"http": 80, "https": 443}
# Not all releases of Python count these as private: metadata services are there, or a translator to IPv4 leads within.
_INSIDE: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b::/96", "2002::/16")))


class Forbidden(errors.ConfigurationError):
    """A request would go where none may go. Name the host in the configuration if it is meant, or correct the URL."""


class GuardedTransport(httpx2.BaseTransport):
    """Sends what may be sent. trusted: hosts that may be anywhere, and be spoken to without TLS."""

    def __init__(
        self, inner: httpx2.BaseTransport, *, trusted: Collection[str] = (), resolve: Resolve | None = None
    ) -> None:
        self._inner = inner
        self._trusted = frozenset(trusted)
        self._resolve = resolve or _resolved

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """One hop: redirects come here again."""
        host, scheme = request.url.host, request.url.scheme
        if host not in self._trusted:
            if scheme != "https":
                raise _forbidden(f"{scheme}://{host} is not asked without TLS.")
            address = public_address(host, self._found(host, request.url.port or _PORTS[scheme]))
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=address)
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Ends the connections."""
        self._inner.close()

    def _found(self, host: str, port: int) -> Sequence[str]:
        try:
            return self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(f"{host} is not known: {error}") from error


def public_address(host: str, addresses: Sequence[str]) -> str:
    """The first of a host's addresses, if all of them are public."""
    for address in addresses:
        if not is_public(address):
            raise _forbidden(f"{host} is the address {address}, which is not on the public Internet.")
    if not addresses:
        raise _forbidden(f"{host} has no address.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is of the public Internet: not private, loopback, link-local, shared, metadata, multicast."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inside = getattr(found, "ipv4_mapped", None)
    if inside is not None:
        found = inside
    return found.is_global and not found.is_multicast and not any(found in network for network in _INSIDE)


def _resolved(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _forbidden(why: str) -> Forbidden:
    return Forbidden(Reason.INVALID_CONFIGURATION, f"{why} Correct the URL, or what it redirects to.")
