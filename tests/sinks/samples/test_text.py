from __future__ import annotations

from pathlib import Path

import pytest

from jobmeter.model.outcome import Keep
from jobmeter.sinks.samples.text import Settings, open_sink
from tests.deliver.test_full_disk import files_at_most
from tests.sinks.samples.given import all_accepted, colmet_batch, own_batch


def test_a_sample_is_a_line_and_a_missing_value_is_not_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink(Settings())
    assert all_accepted(sink.write(own_batch()))
    assert all_accepted(sink.write(own_batch(value=None, job=None)))
    sink.close()
    assert capsys.readouterr().out.splitlines() == [
        "2023-11-14T22:13:20.250Z n1 slurm/alpha:4711 cgroup cgroup_cpu_usage=5",
        "2023-11-14T22:13:20.250Z n1 - ipmi[psu-0] ipmi_power=312 involved=slurm/alpha:4711",
        "2023-11-14T22:13:20.250Z n1 - cgroup",
        "2023-11-14T22:13:20.250Z n1 - ipmi[psu-0] ipmi_power=312 involved=slurm/alpha:4711",
    ]


def test_colmets_form_is_a_block_for_each_record(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink(Settings(form="colmet"))
    assert all_accepted(sink.write(colmet_batch(kinds=("lustrestats_default",))))
    sink.flush()
    assert capsys.readouterr().out.splitlines() == [
        "1700000000  Job(0)/ lustrestats_default -> Host(n1) -> {",
        "\t     involved_jobs : [1000, 7]",
        "\t lustre_bytes_read : 1 (bytes)",
        "\tlustre_bytes_write : 3 (bytes)",
        "\t    lustre_nb_read : 0 (count)",
        "\t   lustre_nb_write : 2 (count)",
        "}",
    ]


def test_a_file_is_begun_anew_after_a_rotation(tmp_path: Path) -> None:
    file = tmp_path / "samples"
    sink = open_sink(Settings(path=str(file)))
    sink.write(own_batch())
    sink.flush()
    file.rename(tmp_path / "samples.1")
    sink.reopen()
    sink.write(own_batch())
    sink.close()
    assert len(file.read_text().splitlines()) == len((tmp_path / "samples.1").read_text().splitlines()) == 2


def test_what_finds_no_room_is_kept(tmp_path: Path) -> None:
    sink = open_sink(Settings(path=str(tmp_path / "samples")))
    with files_at_most(10_000):
        outcomes = [outcome for _ in range(2000) for outcome in sink.write(own_batch())]
    assert any(isinstance(outcome, Keep) for outcome in outcomes)
    sink.write(own_batch())
    sink.close()
