"""One release for all of the tests, installed from nothing; the files run in the order of their names.

KUBECONFIG says which cluster; without one, or without KEDA in it, nothing runs. docs/howto/kubernetes.md lists what
else can be set. The namespace `bloomweaver-e2e` is the tests' own: it is removed before and after.
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests.e2e import cluster as clusters
from tests.e2e import installed, preparing


@pytest.fixture(scope="session")
def cluster() -> Iterator[clusters.Cluster]:
    """An empty namespace of a cluster with KEDA."""
    here = clusters.here(namespace=preparing.NAMESPACE)
    if here is None:
        pytest.skip("not run: no cluster (KUBECONFIG is not set)")
    with contextlib.closing(here):
        trouble = here.reachable()
        if trouble:
            pytest.skip(f"not run: the cluster of KUBECONFIG does not answer ({trouble})")
        if not here.serves("keda.sh/v1alpha1"):
            pytest.skip("not run: the cluster has no KEDA")
        yield here


@pytest.fixture(scope="session")
def release(cluster: clusters.Cluster) -> Iterator[installed.Release]:
    """The release, its client, and a key."""
    with installed.obtained(cluster) as made:
        yield made
