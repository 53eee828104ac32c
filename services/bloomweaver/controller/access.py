"""How the API server is reached: from inside the cluster by the pod's own account, else by a kubeconfig file.

Invariant: a token is read again at every request, because a platform renews it; tokens and keys never reach a log line.
"""

import base64
import contextlib
import pathlib
import ssl
import tempfile
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

ACCOUNT: Final = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER: Final = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Pems:
    """Whom to believe, and who we are, as PEM; None for what there is not."""

    authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    def context(self) -> ssl.SSLContext:
        """For a client."""
        made = ssl.create_default_context(cadata=self.authority.decode() if self.authority else None)
        if self.certificate and self.key:
            with tempfile.NamedTemporaryFile(suffix=".pem") as both:  # the library takes a certificate only from a file
                both.write(self.certificate + b"\n" + self.key)
                both.flush()
                made.load_cert_chain(both.name)
        return made


@dataclass(frozen=True, slots=True)
class Access:
    """server: its URL. token_path: where a token is read from; token: one that stays."""

    server: str
    pems: Pems = field(default_factory=Pems, repr=False)
    token_path: pathlib.Path | None = None
    token: str = field(default="", repr=False)

    def bearer(self) -> str:
        """The token as it is now; empty for none."""
        if self.token_path is not None:
            with contextlib.suppress(OSError):  # a file that is being replaced
                return self.token_path.read_text(encoding="utf-8").strip()
        return self.token

    def verified(self) -> ssl.SSLContext | bool:
        """What an HTTP client has to check the server by."""
        return self.pems.context() if self.server.startswith("https:") else True


def of(kubeconfig: str | None, *, account: pathlib.Path = ACCOUNT) -> Access:
    """From a kubeconfig file, or where there is none from inside the cluster."""
    if kubeconfig:
        return _of_file(pathlib.Path(kubeconfig))
    if not (account / "token").is_file():
        raise _refused("there is no service account here, so this is no pod; set BLOOMWEAVER_KUBECONFIG")
    return Access(IN_CLUSTER, Pems((account / "ca.crt").read_bytes()), account / "token")


def _of_file(path: pathlib.Path) -> Access:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        pems = Pems(
            _pem(cluster, "certificate-authority", path.parent),
            _pem(user, "client-certificate", path.parent),
            _pem(user, "client-key", path.parent),
        )
        server = str(cluster["server"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise _refused(f"BLOOMWEAVER_KUBECONFIG is no kubeconfig ({error.__class__.__name__})") from error
    if "exec" in user or "auth-provider" in user:
        raise _refused("BLOOMWEAVER_KUBECONFIG asks for a program that logs in; give one with a token or a certificate")
    token_path = pathlib.Path(user["tokenFile"]) if "tokenFile" in user else None
    return Access(server, pems, token_path, str(user.get("token", "")))


def _named(entries: list[Any], name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _pem(section: dict[str, Any], name: str, folder: pathlib.Path) -> bytes | None:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return (folder / section[name]).read_bytes() if name in section else None


def _refused(why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, why)
