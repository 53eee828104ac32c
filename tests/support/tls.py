"""TLS in front of a server that speaks none, with a certificate for 127.0.0.1 by an authority of our own."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import pathlib
import ssl
import struct
from collections.abc import AsyncIterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

DAY = dt.timedelta(days=1)
POSTGRESQL_ASKS = struct.pack("!II", 8, 80877103)
"""SSLRequest of PostgreSQL's protocol."""
AGREED = b"S"


class Authority:
    """Its certificate is in `file`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "authority of the tests")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = self._begun(self._name, self._key.public_key()).add_extension(basic, critical=True)
        signed = made.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.file = folder / "authority.pem"
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def context(self, *, address: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
        """Of a server at that address. days: how long its certificate holds; negative for an expired one."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "server")])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        begun = self._begun(name, key.public_key(), days=days).add_extension(alternative, critical=False)
        signed = begun.add_extension(authority, critical=False).sign(self._key, hashes.SHA256())
        file = self._folder / "server.pem"
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        file.write_bytes(key.private_bytes(pem, form, none) + signed.public_bytes(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _begun(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int = 1) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - 3 * DAY)
        return made.not_valid_after(now + days * DAY)


@contextlib.asynccontextmanager
async def before(port: int, context: ssl.SSLContext, *, asked: bytes = b"") -> AsyncIterator[int]:
    """A port on loopback that speaks TLS and hands on to the other. asked: what a client first says in the clear."""

    open_ends: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.append(writer)
        # Cancelled: a client that does not trust us may leave in the middle of the handshake, which then never ends.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if asked:
                assert await reader.readexactly(len(asked)) == asked
                writer.write(AGREED)
                await writer.start_tls(context)
            inner = await asyncio.open_connection("127.0.0.1", port)
            open_ends.append(inner[1])
            await asyncio.gather(_copied(reader, inner[1]), _copied(inner[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if asked else context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for end in open_ends:
            end.close()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()
