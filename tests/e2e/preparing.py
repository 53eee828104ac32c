"""What a release needs before it can be installed: images, values, a namespace, a model on a volume, a client."""

import base64
import os
import pathlib
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any, Final

import yaml

from tests.e2e import cluster as clusters
from tests.e2e import telling
from tests.support import charts, tiny_models

NAMESPACE: Final = "bloomweaver-e2e"
RELEASE: Final = "bloomweaver"
CLIENT: Final = "client"
HERE: Final = pathlib.Path(__file__).parent
ROOT: Final = HERE.parents[1]
IMAGES: Final = ("webhook", "writer", "reconciler", "controller", "embedder", "search")
OWN_IMAGES: Final = ("postgresql", "queue")
IDLE_SECONDS: Final = 10
MODELS: Final = "models"
"""The claim with models of one's own."""
TINY: Final = "tiny"

Object = dict[str, Any]


def repository() -> str:
    """Before the names of all images."""
    return os.environ.get("BLOOMWEAVER_E2E_REPOSITORY", "bloomweaver")


def tag() -> str:
    """Of all images."""
    chart = yaml.safe_load((charts.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return os.environ.get("BLOOMWEAVER_E2E_TAG", str(chart["appVersion"]))


def own_image(name: str) -> str:
    """One that only these tests need."""
    return f"{repository()}/e2e-{name}:{tag()}"


def provide_images() -> None:
    """Bring the images to where the cluster finds them; nothing to do where no command says how."""
    command = os.environ.get("BLOOMWEAVER_E2E_LOAD_IMAGE", "")
    if not command:
        return
    flags = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    for name in OWN_IMAGES:
        build = ["docker", "build", *flags, "--quiet", "--tag", own_image(name), str(HERE / "images" / name)]
        subprocess.run(build, check=True, timeout=900)
    images = [*(f"{repository()}/{name}:{tag()}" for name in IMAGES), *map(own_image, OWN_IMAGES)]
    with tempfile.TemporaryDirectory() as temporary:
        # One archive: layers that images share are in it once, a third of the bytes.
        archive = pathlib.Path(temporary) / "images.tar"
        subprocess.run(["docker", "save", "--output", archive, *images], check=True, timeout=900)
        subprocess.run([*shlex.split(command), archive], check=True, timeout=900, stdout=subprocess.DEVNULL)


def values(**changes: Any) -> Object:
    """Small requests, so that all of it fits on a node of two cores, and short times."""

    def small(memory: str, **more: Any) -> Object:
        return {"resources": {"requests": {"cpu": "10m", "memory": memory}, "limits": {"memory": "1Gi"}}} | more

    repo, _, name = own_image("postgresql").rpartition(":")
    made: Object = {
        "image": {"repository": repository(), "tag": tag()},
        "postgresql": small("128Mi", image={"repository": repo, "tag": name}, storage={"size": "1Gi"}),
        "webhook": small("96Mi", replicas=2),
        "search": small("256Mi", replicas=1),
        "reconciler": small("96Mi"),
        "writer": small("96Mi", keda={"enabled": True, "idleAfterSeconds": IDLE_SECONDS}, visibilitySeconds=15),
        "controller": small("96Mi", enabled=True, models=[]),
        "migrations": small("96Mi"),
        "modelFiles": {"existingClaim": MODELS},
    }
    return made | changes


def model(name: str = "minilm", **changes: Any) -> Object:
    """The sample of the documentation, made small and quick."""
    path = ROOT / "k8s" / "samples" / "default.yaml"
    body: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    body["metadata"] |= {"name": name, "namespace": NAMESPACE}
    body["spec"] |= {
        "runtime": {"resources": {"cpu": "50m", "memory": "1Gi"}},
        "scaling": {"idleAfterSeconds": IDLE_SECONDS, "maxReplicas": 2, "targetDrainSeconds": 5},
    } | changes
    return body


def tiny_model(space: str) -> Object:
    """`spec.model` for the tiny model on the claim."""
    source = {"claim": {"name": MODELS}}
    limits = {"dimensions": tiny_models.HIDDEN, "maxTokens": tiny_models.LIMIT}
    return {"name": TINY, "space": space, "source": source, **limits}


def documents() -> dict[str, str]:
    """The project's own documentation: path to text."""
    folder = ROOT / "docs"
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))}


def tiny_files() -> dict[str, bytes]:
    """A model of a few kilobytes: path to content."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = tiny_models.write(pathlib.Path(temporary) / TINY)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_namespace(cluster: clusters.Cluster) -> None:
    """With the strictest of the pod security standards enforced."""
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    meta = {"name": cluster.namespace, "labels": enforced}
    path = f"api/v1/namespaces/{cluster.namespace}"
    cluster.apply_at(path, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})


def make_claim(cluster: clusters.Cluster) -> None:
    """The volume for models of one's own; the client's pod fills it."""
    meta = {"name": MODELS, "namespace": cluster.namespace}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})


def make_files(cluster: clusters.Cluster, name: str, files: Mapping[str, bytes]) -> list[Object]:
    """A ConfigMap with files; the items that mount them at their paths."""
    keys = {path: path.replace("/", "--") for path in files}
    content = {keys[path]: base64.b64encode(data).decode() for path, data in files.items()}
    meta = {"name": name, "namespace": cluster.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "binaryData": content})
    return [{"key": key, "path": path} for path, key in keys.items()]


def make_client(cluster: clusters.Cluster) -> None:
    """A pod that outlives every test, with the scripts and the documents."""
    given = {
        "scripts": {path.name: path.read_bytes() for path in (HERE / "inside").glob("*.py")},
        "documents": {path: text.encode() for path, text in documents().items()},
        TINY: tiny_files(),
    }
    volumes = [
        {"name": name, "configMap": {"name": f"e2e-{name}", "items": make_files(cluster, f"e2e-{name}", files)}}
        for name, files in given.items()
    ]
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": CLIENT,
        "image": f"{repository()}/search:{tag()}",
        "command": ["sh", "-c", f"cp -rL /documents /data/; cp -rL /{TINY} /models/; exec sleep infinity"],
        "env": [{"name": "BLOOMWEAVER_URL", "value": f"http://{RELEASE}-webhook:8080"}],
        "securityContext": restricted,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "data", "mountPath": "/data"},
            {"name": "scripts", "mountPath": "/e2e"},
            {"name": "documents", "mountPath": "/documents"},
            {"name": TINY, "mountPath": f"/{TINY}"},
            {"name": MODELS, "mountPath": "/models"},
        ],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", "emptyDir": {}},
            {"name": MODELS, "persistentVolumeClaim": {"claimName": MODELS}},
            *volumes,
        ],
    }
    meta = {"name": CLIENT, "namespace": cluster.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    clusters.until(
        "the client's pod",
        lambda: telling.ready(cluster.there("Pod", CLIENT)) or None,
        state=lambda: telling.told(cluster),
    )
