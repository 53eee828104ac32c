"""How a cluster is, in words: what a failed test prints, since nobody can look at it later."""

from typing import Any

from tests.e2e import cluster as clusters

Object = dict[str, Any]


def ready(pod: Object) -> bool:
    """Whether a pod is."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def told(cluster: clusters.Cluster) -> str:
    """Pods that are not well with the end of their logs, resources with their conditions, and warnings."""
    lines = []
    for pod in cluster.all("Pod"):
        name, status = pod["metadata"]["name"], pod.get("status", {})
        containers = status.get("containerStatuses", [])
        states = [f"{each['restartCount']} restarts, {each['state']}" for each in containers]
        lines.append(f"pod {name}: {status.get('phase')} {'; '.join(states)}")
        if not ready(pod) and status.get("phase") != "Succeeded":
            lines.append(cluster.log(name))
            if any(each["restartCount"] for each in containers):
                lines.append("before: " + cluster.log(name, previous=True, lines=10))
    if cluster.serves("bloomweaver.dev/v1alpha1"):
        for body in cluster.all("EmbeddingModel"):
            conditions = body.get("status", {}).get("conditions", [])
            states = [f"{each['type']}={each['status']} {each['reason']} {each['message']}" for each in conditions]
            lines.append(f"model {body['metadata']['name']}: {'; '.join(states)}")
    warnings = [each for each in cluster.all("Event") if each.get("type") == "Warning"]
    lines += [
        f"warning {each['involvedObject'].get('name')}: {each['reason']} {each.get('message', '')[:300]}"
        for each in warnings[-15:]
    ]
    return "\n".join(lines)
