from __future__ import annotations

from jobmeter.model.job import JobIdentity
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.wire.colmet import FORMATS, ColmetRecord, columns, decode, encode, types
from jobmeter.wire.colmet_metrics import RECEIVED
from jobmeter.wire.colmet_samples import ColmetForm, job_number, samples_of

SECOND = 1_000_000_000


def records() -> list[ColmetRecord]:
    """One of each class, every column with a value of its own."""
    made = []
    for number, kind in enumerate(sorted(FORMATS)):
        values = tuple(
            "[1000, 7]" if form == "s" else (place + 0.5 if form == "f" else 1000 * number + place)
            for place, form in enumerate(types(kind))
        )
        node_wide = "involved_jobs" in columns(kind) or kind.startswith("temperature")
        made.append(ColmetRecord(kind, "n1", 0 if node_wide else 4711, 1_700_000_000, values))
    return made


def test_every_column_of_every_class_survives_the_way_through_samples() -> None:
    batch = samples_of(records(), "oar", "")
    back = ColmetForm().converted(batch)
    assert [made.record for made in back.made] == records()
    assert back.rest == ()
    assert decode(encode(made.record for made in back.made)).records == tuple(records())


def test_every_received_metric_has_a_unit() -> None:
    batch = samples_of(records(), "oar", "")
    catalogue = {metric.name: metric.unit for metric in batch.metrics}
    assert all(catalogue[name] for sample in batch.samples for name in sample.metrics)
    assert {metric.unit for metrics in RECEIVED.values() for metric in metrics} <= {
        "count", "seconds", "microseconds", "nanoseconds", "bytes", "kibibytes", "centiseconds", "percent", "watts",
        "milliwatts", "microjoules", "degrees_celsius", "mebibyte-microseconds",
    }  # fmt: skip


def test_minus_one_of_colmet_is_no_value() -> None:
    (sample,) = samples_of([ColmetRecord("perfhwstats_default", "n1", 7, 1, (5, -1, -1, -1, -1))], "oar", "").samples
    assert sample.values == (5, None, None, None, None)
    assert sample.job == JobIdentity("oar", "", "7")


def test_a_cut_list_of_jobs_gives_its_whole_ids() -> None:
    (sample,) = samples_of(
        [ColmetRecord("ipmipowerstats_default", "n1", 0, 1, (5, "[1000, 1001, 10"))], "oar", ""
    ).samples
    assert [job.job for job in sample.involved] == ["1000", "1001"]


def energy(package: str, value: int, at: int) -> Sample:
    metrics = ("rapl_energy", "rapl_energy_range")
    return Sample("rapl", "n1", None, at * SECOND, metrics, (value, 262143328850), package)


def test_zones_get_their_places_and_energy_is_that_since_the_record_before() -> None:
    form = ColmetForm()
    for at, grown in ((1, 0), (2, 250), (3, 500)):
        samples = [energy("package-0", 1000 + grown, at), energy("package-1/dram", 7000 + 2 * grown, at)]
        (made,) = form.converted(SampleBatch("n1", tuple(samples))).made
        step = 0 if at == 1 else 250
        assert made.record.values[:2] == (step, 262143328850)
        assert made.record.values[10:12] == (2 * step, 262143328850)
        assert made.record.values[2:10] == (None,) * 8
        assert made.members == (0, 1)


def test_devices_are_summed_up() -> None:
    metrics = ("infiniband_port_xmit_data", "infiniband_port_rcv_data")
    samples = [
        Sample("infiniband", "n1", None, SECOND, metrics, (5, 7), "mlx5_0/1"),
        Sample("infiniband", "n1", None, SECOND, metrics, (10, None), "mlx5_1/1"),
    ]
    (made,) = ColmetForm().converted(SampleBatch("n1", tuple(samples))).made
    assert made.record.values == (15, 7, None, None, "[]")


def test_events_take_the_columns_in_their_order() -> None:
    metrics = tuple(f"perf_{name}" for name in ("instructions", "page_faults", "a", "b", "c", "d"))
    job = JobIdentity("slurm", "alpha", "9")
    form = ColmetForm()
    for at in (1, 2):
        sample = Sample("perf", "n1", job, at * SECOND, metrics, tuple(place * at for place in range(6)))
        (made,) = form.converted(SampleBatch("n1", (sample,))).made
    assert made.record.values == (0, 1, 2, 3, 4)
    form.converted(SampleBatch("n1", (), ends=(JobEnd(job, "n1", 3),)))
    (made,) = form.converted(SampleBatch("n1", (sample,))).made
    assert made.record.values == (0, 0, 0, 0, 0)


def test_an_id_that_is_no_number_gets_one_that_stays_the_same() -> None:
    pod = JobIdentity("kubernetes", "k", "0b8a1c9e-6a51")
    assert job_number(pod) == job_number(JobIdentity("kubernetes", "k", "0b8a1c9e-6a51"))
    assert 0 < job_number(pod) < 2**63
    assert job_number(pod) != job_number(JobIdentity("kubernetes", "other", "0b8a1c9e-6a51"))
    assert job_number(JobIdentity("oar", "", "1000")) == 1000
    assert job_number(None) == 0


def test_what_colmet_has_no_class_for_is_left_over() -> None:
    samples = (Sample("cgroup", "n1", None, SECOND, ("cpu_usage",), (5,)),)
    assert ColmetForm().converted(SampleBatch("n1", samples)).rest == (0,)


def test_records_of_one_second_stay_apart() -> None:
    given = [ColmetRecord("perfhwstats_default", "n1", 7, 1, (number, 0, 0, 0, 0)) for number in range(3)]
    made = ColmetForm().converted(samples_of(given, "oar", "")).made
    assert [each.record.values[0] for each in made] == [0, 1, 2]
