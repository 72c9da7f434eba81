"""The spool of a deployment, opened. Apart from the sinks, whose imports cost more than a job's epilog may take."""

from __future__ import annotations

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import SystemClock
from jobmeter.settings.deployment import Deployment


def open_spool(deployment: Deployment) -> Spool:
    """The spool; its folder is made. Raises OSError and the faults of the spool."""
    deployment.spool_file.parent.mkdir(parents=True, exist_ok=True)
    bounds = deployment.spool
    settings = SpoolSettings(
        max_bytes=bounds.max_bytes,
        when_full=bounds.when_full,
        max_age_days=bounds.max_age_days,
        letters_max=bounds.letters_max,
        seen_days=bounds.seen_days,
    )
    return Spool(deployment.spool_file, settings, SystemClock())
