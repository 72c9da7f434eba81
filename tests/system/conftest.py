"""Real services for the system tests, started once a session and stopped by their process ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.slurm_cluster import SlurmCluster, SlurmUnavailable, install_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A private Slurm with accounting, empty."""
    try:
        install_slurm()
    except SlurmUnavailable as reason:
        pytest.skip(str(reason))
    cluster = SlurmCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
