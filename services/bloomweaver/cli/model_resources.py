"""Where an EmbeddingModel resource decides which model is searched: its wish is changed, by `kubectl`.

`kubectl` is what whoever runs a cluster has, with all its ways to sign in. Nothing is changed without knowing the
revision, and the resource version that it was read at has to be the one that is patched.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bloomweaver.cli import failures, wording

KIND: Final = "embeddingmodels.bloomweaver.dev"
SECONDS: Final = 30
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_REVISIONS: Final = {"promote": ("candidateRevision",), "pin": ("previousRevision", "activeRevision")}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """Which resource: of the current context, and its namespace unless one is given."""

    name: str
    namespace: str | None

    def __post_init__(self) -> None:
        for name in (self.name, self.namespace or "default"):
            if not _NAME.fullmatch(name):
                raise failures.usage(
                    f"{wording.one_line(name)} is no name in Kubernetes.",
                    advice="Names are of small letters, digits, dots and hyphens.",
                )

    def wish(self, field: str, model: str) -> Json:
        """Set `spec.rollout.promote` or `.pin` to the revision of a model, by its name or hash; gives the revision."""
        body = json.loads(self._kubectl("get", KIND, self.name, "--output=json"))
        found = self._revision(body, field, model)
        other = "pin" if field == "promote" else "promote"
        patch = {
            "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
            "spec": {"rollout": {field: found["hash"], other: ""}},
        }
        self._kubectl("patch", KIND, self.name, "--type=merge", f"--patch={json.dumps(patch)}")
        return found

    def command(self, field: str) -> str:
        """What takes the wish back."""
        place = f" --namespace {self.namespace}" if self.namespace else ""
        patch = json.dumps({"spec": {"rollout": {field: ""}}}, separators=(",", ":"))
        return f"kubectl patch {KIND} {self.name}{place} --type=merge --patch='{patch}'"

    def _revision(self, body: Json, field: str, model: str) -> Json:
        status = body.get("status", {})
        known = [status[name] for name in _REVISIONS[field] if status.get(name)]
        for revision in known:
            if model in (revision["hash"], revision["model"]["name"]):
                chosen: Json = revision
                return chosen
        named = ", ".join(f"{one['model']['name']} ({one['hash']})" for one in known) or "none"
        what = "is built" if field == "promote" else "is or was searched"
        raise failures.Failure(
            f"The resource {wording.one_line(self.name)} has no revision of {wording.one_line(model)} to {field}.",
            why=f"what {what} in its collections: {named}",
            advice="Name one of these, by model or hash."
            if known
            else f"`kubectl describe {KIND} {self.name}` tells where it stands.",
        )

    def _kubectl(self, *arguments: str) -> str:
        command = ["kubectl", *arguments, *((f"--namespace={self.namespace}",) if self.namespace else ())]
        try:
            done = _run(command)
        except FileNotFoundError as error:
            raise failures.Failure(
                "There is no kubectl to ask the cluster with.",
                why="the command `kubectl` is not on the PATH",
                advice="Install it, or set spec.rollout of the resource by other means.",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise failures.Failure(
                "The cluster does not answer.",
                why=f"`kubectl {arguments[0]}` took longer than {SECONDS} s",
                advice="`kubectl cluster-info` tells which cluster it asks.",
                code=failures.ExitCode.UNREACHABLE,
            ) from error
        if done.returncode:
            raise failures.Failure(
                f"kubectl could not {arguments[0]} the resource {wording.one_line(self.name)}.",
                why=wording.one_line(done.stderr),
                advice="`kubectl get embeddingmodels --all-namespaces` lists those that there are.",
            )
        return done.stdout


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # no shell, and names are checked: none can be taken for an option
        command, capture_output=True, text=True, check=False, timeout=SECONDS
    )
