"""Real services for the system tests, started once a session and stopped by their process ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.debian import Unavailable
from tests.system.kubernetes_cluster import KubernetesCluster, install_kubernetes
from tests.system.slurm_cluster import SlurmCluster, install_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A private Slurm with accounting, empty."""
    try:
        install_slurm()
    except Unavailable as reason:
        pytest.skip(str(reason))
    cluster = SlurmCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[KubernetesCluster]:
    """A private Kubernetes API server, empty."""
    try:
        cluster = KubernetesCluster(install_kubernetes())
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
