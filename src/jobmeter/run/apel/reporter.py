"""Reporting to APEL: the account on one side, the outbox and the messaging service on the other."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobmeter.contract import Clock
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.outbox import Outbox, Parcel
from jobmeter.deliver.pump import Pump
from jobmeter.model.publication import Fate, Publication
from jobmeter.peer import Endpoint
from jobmeter.report.apel.settings import Config
from jobmeter.report.month import Month
from jobmeter.run.account import Account, AccountAway
from jobmeter.run.apel.author import Author, Report
from jobmeter.run.collector.daemon import Stopper
from jobmeter.sinks.ams import AmsSink, open_sink
from jobmeter.sinks.ams import Settings as AmsSettings

TOLD_AGAIN = 250
"""So many of the newest messages are told to the account each time, whether it knows them or not."""
TOLD_AT_ONCE = 250
"""So many messages are told in one request; the largest fit the server's bound of a body."""

_PUT_OFF_SECONDS = 600.0

log = logging.getLogger("jobmeter.report")


class Reporter:
    """The account on one side, the outbox and the messaging service on the other."""

    def __init__(self, config: Config, clock: Clock, deliver_seconds: float) -> None:
        self.config = config
        self._clock = clock
        self._deliver_seconds = deliver_seconds
        self._account = Account(_endpoint(config), config.auditor.token_file)
        self._stopper = Stopper()

    @property
    def outbox_file(self) -> Path:
        """Where the history stands."""
        file = Path(self.config.plugin.time_json_path)
        return file.with_name(f"{file.stem}.reports.db")

    def close(self) -> None:
        """Close the connection to the account."""
        self._account.close()

    def open_outbox(self) -> Outbox:
        """The outbox. Raises the faults of a spool."""
        return Outbox(self.outbox_file, self._clock)

    def planned(self, months: Iterable[Month] | None, sites: tuple[str, ...], *, again: bool) -> Iterator[Report]:
        """The same reports as `report` makes, without a trace. Raises AccountAway."""
        if not self.outbox_file.exists():
            yield from self._reports(None, months, sites, again=again)
            return
        with self.open_outbox() as outbox:
            yield from self._reports(outbox, months, sites, again=again)

    def _reports(
        self, outbox: Outbox | None, months: Iterable[Month] | None, sites: tuple[str, ...], *, again: bool
    ) -> Iterator[Report]:
        """The reports of these months, by default of all that a change may still reach. Raises AccountAway."""

        def published(key: tuple[str, ...]) -> list[str]:
            return [] if outbox is None else [body.decode("ascii") for body in outbox.published(key)]

        now = self._clock.now()
        author = Author(self.config, self._account, published, may_empty=again)
        if months is None:
            last = Month.of(now)
            first = max(author.first_month(now), _back(last, self.config.plugin.recheck_months))
            months = first.until(last)
        for month in months:
            yield from author.reports(month, now, sites)

    def run(self, *, once: bool) -> int:
        """Report, deliver, wait, and again until a signal."""
        with self._stopper.installed():
            while True:
                wait = 0.0 if once else self._wait_seconds()
                if wait > 0 and self._stopper.stop.wait(wait):
                    return 0
                try:
                    done = self.report(None, tuple(self.config.site.sites_to_report), again=False)
                except (AccountAway, SpoolFault, OSError) as fault:
                    if once:
                        raise
                    log.error("apel.put_off reason=%r", str(fault))  # noqa: TRY400
                    done = False
                if once or self._stopper.stop.is_set():
                    return 0 if done else 1
                if not done and self._stopper.stop.wait(min(_PUT_OFF_SECONDS, self.config.plugin.report_interval)):
                    return 0

    def report(self, months: Iterable[Month] | None, sites: tuple[str, ...], *, again: bool) -> bool:
        """Put what is new, with `again` also what is not, into the outbox and deliver. True when all is accepted."""
        started = self._clock.now()
        with self.open_outbox() as outbox:
            reports = self._reports(outbox, months, sites, again=again)
            sendable = [self._put(outbox, each, again=again) for each in reports]
            delivered = self.deliver(outbox)
            self.tell(outbox)
        if again and not sendable:
            log.error("apel.nothing_to_send sites=%s", ",".join(sites))
            return False
        done = delivered and all(sendable)
        if done and not again:
            _write_time(Path(self.config.plugin.time_json_path), started)
        return done

    def _put(self, outbox: Outbox, report: Report, *, again: bool) -> bool:
        """Put a report into the outbox where it is to be sent. False when it cannot be."""
        tell_left_out(report)
        bodies = [message.text.encode("ascii") for message in report.messages]
        if bodies and outbox.put(report.key, bodies, report.about, again=again):
            log.info("apel.queued key=%s messages=%d %s", "/".join(report.key), len(bodies), _counts(report))
        return not report.unsendable

    def retry(self) -> int:
        """Let what was rejected wait again, and deliver."""
        with self.open_outbox() as outbox:
            count = sum(outbox.retry(key) for key in {parcel.key for parcel in outbox.rejected()})
            log.info("apel.retried messages=%d", count)
            delivered = self.deliver(outbox)
            self.tell(outbox)
            return 0 if delivered else 1

    def tell(self, outbox: Outbox) -> None:
        """Tell the account what was published: all that changed since it was told, and the newest once more.

        What it has not taken is told the next time; the newest again, for an account that was set back. An account that
        takes no publications (AUDITOR's server, a token without the role) is no fault of the report.
        """
        told = self._told(outbox, outbox.history(TOLD_AGAIN))
        while told and (parcels := outbox.untold(TOLD_AT_ONCE)):
            told = self._told(outbox, parcels)

    def _told(self, outbox: Outbox, parcels: Sequence[Parcel]) -> bool:
        """Tell of these. False when the account has not taken it."""
        publications = publications_of(parcels, self.config)
        try:
            refusal = self._account.publish(publications) if publications else None
        except AccountAway as fault:
            refusal = str(fault)
        if refusal is not None:
            log.warning("apel.untold reason=%r", refusal)
            return False
        outbox.tell(parcels)
        return True

    def deliver(self, outbox: Outbox) -> bool:
        """Deliver what waits, for so long at most. True when nothing waits and nothing of the newest was rejected."""
        if outbox.next_due_seconds() is not None:
            sink = self._sink()
            try:
                drained = Pump(outbox, sink, self._stopper.stop).drain(self._deliver_seconds)
            finally:
                sink.close()
            if not drained:
                log.warning("apel.waiting reason=%r", next((each.reason for each in outbox.history(1)), ""))
                return False
        rejected = outbox.rejected()
        for parcel in rejected:
            log.error("apel.rejected key=%s reason=%r", "/".join(parcel.key), parcel.reason)
        return not rejected

    def _sink(self) -> AmsSink:
        return open_sink(ams_settings(self.config))

    def _wait_seconds(self) -> float:
        last = _last_report(Path(self.config.plugin.time_json_path))
        if last is None:
            return 0.0
        due = last + timedelta(seconds=self.config.plugin.report_interval)
        return max(0.0, (due - self._clock.now()).total_seconds())


def receiver_of(config: Config) -> str:
    """To whom the messages go, as a person would name it."""
    if config.messaging is not None:
        return f"{config.messaging.host}, topic {config.messaging.topic}"
    return "" if config.authentication is None else config.authentication.ams_url


def publications_of(parcels: Iterable[Parcel], config: Config) -> list[Publication]:
    """The history of the outbox as publications; a key of another form is none of ours and is left out."""
    return [
        Publication(
            reporter=parcel.key[0],
            receiver=receiver_of(config),
            site=parcel.key[1],
            of_sites=tuple(config.site.sites_to_report.get(parcel.key[1], ())),
            month=parcel.key[2][:7],
            day=int(parcel.key[2][8:] or 0),
            what=parcel.key[3],
            made=parcel.made,
            digest=parcel.digest,
            fate=Fate(parcel.state.value),
            counts=parcel.about,
            part=parcel.part,
            parts=parcel.parts,
            settled=parcel.settled,
            receipt=parcel.receipt,
            reason=parcel.reason,
        )
        for parcel in parcels
        if len(parcel.key) == 4
    ]


def ams_settings(config: Config) -> AmsSettings:
    """Where the messages go, by either generation of the file."""
    if config.messaging is not None:
        given = config.messaging
        host = f"https://{given.host}"
        return AmsSettings(
            token_url=f"{host}:{given.port}/v1/service-types/ams/hosts/{given.host}:authx509",
            publish_url=f"{host}:{given.publish_port}/v1/projects/{given.project}/topics/{given.topic}:publish",
            certificate_file=given.client_cert,
            key_file=given.client_key,
            ca_path=given.ca_path,
            timeout_seconds=given.timeout,
        )
    older = config.authentication
    if older is None:
        raise ValueError("neither messaging nor authentication")
    return AmsSettings(
        token_url=older.auth_url,
        publish_url=older.ams_url,
        certificate_file=older.client_cert,
        key_file=older.client_key,
        ca_path=older.ca_path,
        verify=older.verify_ca,
    )


def tell_left_out(report: Report) -> None:
    """Log why a report cannot be sent, the jobs that it leaves out as far as they are named, and how many there are."""
    if report.unsendable:
        log.error("apel.unsendable key=%s reason=%r", "/".join(report.key), report.unsendable)
    if report.about.get("unfit"):
        log.warning("apel.left_out key=%s jobs=%d", "/".join(report.key), report.about["unfit"])
    for job in report.unfit:
        log.warning("apel.unfit site=%s record_id=%r lacks=%r", job.site, job.record_id, "; ".join(job.lacks))


def _counts(report: Report) -> str:
    return " ".join(f"{name}={count}" for name, count in report.about.items())


def _back(month: Month, count: int) -> Month:
    index = month.year * 12 + month.number - 1 - count
    return Month(index // 12, index % 12 + 1)


def _last_report(file: Path) -> datetime | None:
    try:
        last = datetime.fromisoformat(json.loads(file.read_text(encoding="utf-8"))["last_report_time"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        log.warning("apel.time_unread file=%s reason=%r", file, str(fault))
        return None
    return last if last.tzinfo is not None else last.replace(tzinfo=UTC)


def _write_time(file: Path, moment: datetime) -> None:
    """Write the time of this report, whole or not at all, and leave what else stands in the file."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = {}
    content = {**(held if isinstance(held, dict) else {}), "last_report_time": moment.isoformat()}
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as fresh:
        json.dump(content, fresh)
        fresh.flush()
        os.fsync(fresh.fileno())
    Path(fresh.name).replace(file)


def _endpoint(config: Config) -> Endpoint:
    auditor = config.auditor
    host = f"[{auditor.ip}]" if ":" in auditor.ip else auditor.ip
    scheme = "https" if auditor.use_tls else "http"
    files = (auditor.ca_cert_path, auditor.client_cert_path, auditor.client_key_path) if auditor.use_tls else ()
    return Endpoint(f"{scheme}://{host}:{auditor.port}", auditor.timeout, *files)
