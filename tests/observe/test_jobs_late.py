"""Jobs whose folders come and go in any order, are made anew, renamed, left behind, or cannot be watched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec import structs

from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.cgroups import Hierarchies, hierarchies, parse
from jobmeter.observe.groups.members import Members
from jobmeter.observe.host import Host, SystemClock, this_host
from jobmeter.observe.jobs import finder as finding
from jobmeter.observe.jobs import naming
from jobmeter.observe.jobs.finder import RETRY_SECONDS, JobFinder
from jobmeter.observe.jobs.profile import built_in, rooted
from tests.observe.kernel_groups import Groups, groups, removed

__all__ = ["groups"]

PATTERN = (r"_(\d+)$",)


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def _of(groups: Groups, controller: str | None = None) -> JobFinder:
    root = groups.root if controller is None else groups.roots[controller]
    return JobFinder(groups.host, groups.trees, [rooted(str(root), PATTERN, "oar")])


@pytest.fixture(autouse=True)
def as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is: a look lists the folders whenever the kernel has told something."""
    monkeypatch.setattr(finding, "_SHARE", 1e9)
    monkeypatch.setattr(naming, "_ANSWER_SECONDS", 60.0)


def _ids(jobs: Sequence[RunningJob]) -> list[str]:
    return [job.identity.job for job in jobs]


def _memory(groups: Groups) -> Path:
    if "memory" not in groups.roots:
        pytest.skip("all of a job is in one tree here")
    return groups.roots["memory"]


def test_a_folder_that_comes_long_after_the_others_is_heard_of(groups: Groups) -> None:
    memory = _memory(groups)
    finder = _of(groups)
    finder.look(1)
    (groups.root / "alice_7").mkdir()
    assert _ids(finder.look(2).begun) == ["7"]
    (memory / "alice_7").mkdir()
    eventually(lambda: not finder.look(3_600_000_000_000).ended and "memory" in finder.jobs[0].cgroups)
    assert finder.jobs[0].found_ns == finder.jobs[0].since_ns == 2
    finder.close()


def test_a_job_that_runs_again_in_a_folder_left_in_one_tree_is_another_run(groups: Groups) -> None:
    memory = _memory(groups)
    finder = _of(groups)
    groups.make("alice_7")
    finder.look(1)
    removed(groups.root / "alice_7")
    assert finder.look(2).ended == ()
    (groups.root / "alice_7").mkdir()
    changes = finder.look(3)
    assert (_ids(changes.ended), _ids(changes.begun)) == (["7"], ["7"])
    assert finder.jobs[0].cgroups.keys() >= {"cpuacct", "memory"}
    assert finder.jobs[0].since_ns == 3
    assert (memory / "alice_7").exists()
    finder.close()


def test_a_folder_made_anew_in_a_lesser_tree_is_of_the_same_job(groups: Groups) -> None:
    memory = _memory(groups)
    finder = _of(groups)
    groups.make("alice_7")
    finder.look(1)
    first = finder.jobs[0]
    removed(memory / "alice_7")
    (memory / "alice_7").mkdir()
    changes = finder.look(2)
    assert (changes.begun, changes.ended) == ((), ())
    assert finder.jobs[0] is not first  # whoever reads its files opens them again
    assert finder.jobs[0] == first
    finder.close()


def test_a_job_that_only_left_a_folder_behind_has_ended_and_does_not_begin_again(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = _memory(groups)
    monkeypatch.setattr(finding, "LEFT_SECONDS", 0.0)
    finder = _of(groups, "memory")
    groups.make("alice_7")
    finder.look(1)
    process = subprocess.Popen(["sleep", "60"])
    (memory / "alice_7" / "cgroup.procs").write_text(str(process.pid))
    removed(groups.root / "alice_7")
    assert finder.look(2).ended == ()  # somebody lives in it
    process.kill()
    process.wait()
    eventually(lambda: _ids(finder.look(3).ended) == ["7"])
    groups.make("bob_8")
    assert _ids(finder.look(4).begun) == ["8"]
    assert _ids(finder.jobs) == ["8"]
    (groups.root / "alice_7").mkdir()
    eventually(lambda: bool(finder.look(5)) and _ids(finder.jobs) == ["8", "7"])
    finder.close()


def test_a_group_that_is_renamed_is_another_job_whose_counters_do_not_begin_at_zero(groups: Groups) -> None:
    (groups.root / "alice_7").mkdir()
    finder = _of(groups)
    finder.look(1)
    try:
        (groups.root / "alice_7").rename(groups.root / "alice_8")
    except OSError:
        pytest.skip("groups are not renamed here")
    changes = finder.look(2)
    assert (_ids(changes.ended), _ids(changes.begun)) == (["7"], ["8"])
    assert finder.jobs[0].since_ns is None
    (groups.root / "bob_9").mkdir()
    finder.look(3)
    assert finder.jobs[1].since_ns == 3
    finder.close()


def test_the_next_job_in_a_slot_that_was_not_made_anew_does_not_begin_at_zero(tmp_path: Path) -> None:
    slot = tmp_path / "tree/htcondor/condor_execute_slot1_1@n1"
    slot.mkdir(parents=True)
    (slot / "cgroup.procs").write_text("77\n")
    proc, ad = tmp_path / "host/proc/77", tmp_path / "host/execute/.job.ad"
    for folder in (proc, ad.parent):
        folder.mkdir(parents=True)
    (proc / "environ").write_bytes(b"_CONDOR_JOB_AD=/execute/.job.ad\0")
    finder = JobFinder(
        Host(tmp_path / "host", SystemClock(), {}, "n1"),
        Hierarchies({}, str(tmp_path / "tree")),
        [built_in("htcondor")],
    )
    finder.look(1)
    (tmp_path / "tree/htcondor/stirs").mkdir()
    for number, since in ((13, 2), (14, None)):
        ad.write_text(f'ClusterId = {number}\nGlobalJobId = "s#1"\nProcId = 0\n')
        (tmp_path / f"tree/htcondor/stirs/{number}").parent.rmdir()
        (tmp_path / "tree/htcondor/stirs").mkdir()
        finder.look(2)
        assert [(job.identity.job, job.since_ns) for job in finder.jobs] == [(f"{number}.0", since)]
    finder.close()


def test_a_root_that_comes_later_is_heard_of_with_the_job_in_it(groups: Groups) -> None:
    root = groups.root / "later" / "oar"
    finder = JobFinder(groups.host, groups.trees, [rooted(str(root), PATTERN, "oar")])
    finder.look(1)
    for folder in (root.parent, root, root / "alice_7"):
        folder.mkdir()
        changes = finder.look(2)
    assert _ids(changes.begun) == ["7"]
    finder.close()
    for folder in (root / "alice_7", root, root.parent):
        removed(folder)


def test_where_the_kernel_refuses_to_watch_a_job_that_comes_is_found_within_a_second_or_two(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from jobmeter.observe.cgroups import Hierarchies\nfrom jobmeter.observe.host import this_host\n"
        "from jobmeter.observe.jobs.finder import JobFinder\nfrom jobmeter.observe.jobs.profile import rooted\n"
        "root, limit = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "finder = JobFinder(this_host(), Hierarchies({}, str(root)), [rooted(f'{root}/jobs', (r'_(\\d+)$',), 'oar')])\n"
        "finder.look(1)\nprint(finder.patience_seconds)\n(root / 'jobs' / 'alice_1').mkdir()\n"
        "while not finder.look(2).begun: time.sleep(0.1)\n"
        "limit.write_text('100')\nwhile finder.patience_seconds < 5: finder.look(3); time.sleep(0.1)\n"
        "(root / 'jobs' / 'alice_2').mkdir()\nprint([job.identity.job for job in finder.look(2).begun])\n"
    )
    limit = "/proc/sys/user/max_inotify_watches"
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", f'echo 0 > {limit} && exec "$@"', "sh"]
    done = subprocess.run(
        [*words, sys.executable, "-c", script, str(tmp_path), limit], capture_output=True, check=False, text=True
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no namespaces of users here: {done.stderr}")
    assert done.stdout.split("\n")[:2] == ["1.0", "['2']"], done.stderr


def test_a_storm_of_folders_that_are_no_jobs_takes_its_share_of_time_and_hides_no_job(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_BURST_SECONDS", 0.0)
    monkeypatch.setattr(finding, "_SHARE", 1e-9)
    finder = _of(groups)
    finder.look(1)
    (groups.root / "alice_7").mkdir()
    assert finder.look(2).begun == ()
    assert finder.patience_seconds > 60
    monkeypatch.setattr(finding, "_SHARE", 1.0)
    eventually(lambda: _ids(finder.look(3).begun) == ["7"])
    finder.close()


def test_more_news_than_the_kernel_keeps_are_no_loss(groups: Groups) -> None:
    if groups.trees.unified is None:
        pytest.skip("there is no tree of version 2 here")
    root = Path(groups.trees.unified, groups.name)
    (root / "alice_7").mkdir(parents=True)
    finder = JobFinder(groups.host, Hierarchies({}, groups.trees.unified), [rooted(str(root), PATTERN, "oar")])
    finder.look(1)
    for number in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 10):
        os.mkdir(root / f"x{number % 2}")  # noqa: PTH102 - often
        os.rmdir(root / f"x{number % 2}")  # noqa: PTH106
    (root / "bob_8").mkdir()
    changes = finder.look(2)
    finder.close()
    for name in ("alice_7", "bob_8", "."):
        removed((root / name).resolve())
    assert _ids(changes.begun) == ["8"]
    assert _ids(changes.emptied) == ["7"]  # it may have been


def test_one_job_in_two_layouts_is_one_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "oar/alice_7").mkdir(parents=True)
    (tmp_path / "slurm_n1/uid_0/job_9").mkdir(parents=True)
    (tmp_path / "slurm_n2/uid_0/job_9").mkdir(parents=True)
    profiles = [rooted(str(tmp_path / "oar"), PATTERN, "oar"), built_in("oar"), built_in("slurm")]
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), profiles)
    for _ in range(3):
        finder.look(1)
        (tmp_path / "oar/stirs").mkdir()
        (tmp_path / "oar/stirs").rmdir()
    assert sorted(_ids(finder.jobs)) == ["7", "9"]
    assert [record.message.split()[0] for record in caplog.records] == ["jobs.found_twice"]
    first = next(job for job in finder.jobs if job.identity.job == "9")
    (tmp_path / first.cgroups[""]).rmdir()
    changes = finder.look(2)
    assert (_ids(changes.ended), _ids(changes.begun)) == (["9"], ["9"])
    finder.close()


def test_a_job_that_nobody_names_is_asked_for_ever_more_rarely(tmp_path: Path) -> None:
    (tmp_path / "system.slice/slurmstepd.scope/sABCDEFGH01234").mkdir(parents=True)
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [built_in("slurm")])
    finder.look(1)
    assert finder.patience_seconds == RETRY_SECONDS
    eventually(lambda: finder.patience_seconds > 2 * RETRY_SECONDS)
    finder.close()


def test_a_slots_job_may_name_no_pipe_and_no_device_and_is_not_waited_for(tmp_path: Path) -> None:
    slot = tmp_path / "tree/htcondor/condor_execute_slot1_1@n1"
    slot.mkdir(parents=True)
    (slot / "cgroup.procs").write_text("77\n")
    proc = tmp_path / "host/proc/77"
    proc.mkdir(parents=True)
    os.mkfifo(tmp_path / "host/pipe")
    (tmp_path / "host/endless").symlink_to("/dev/zero")
    finder = JobFinder(
        Host(tmp_path / "host", SystemClock(), {}, "n1"),
        Hierarchies({}, str(tmp_path / "tree")),
        [built_in("htcondor")],
    )
    for name in ("pipe", "endless", "proc", "missing", "x\0y", "../" * 50 + "dev/null"):
        (proc / "environ").write_bytes(f"_CONDOR_JOB_AD=/{name}\0".encode())
        finder.look(1)
        assert finder.jobs == ()
    finder.close()


def test_groups_in_a_job_may_be_as_deep_as_a_path_can_be(groups: Groups) -> None:
    (groups.root / "alice_7").mkdir()
    finder = _of(groups)
    finder.look(1)
    made = [groups.root / "alice_7"]
    place = os.open(made[0], os.O_RDONLY)
    depth = 0
    try:
        while depth < 1500:
            os.mkdir("a", dir_fd=place)
            inner = os.open("a", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place, depth = inner, depth + 1
        members = Members(groups.host, groups.trees)
        assert members.processes(finder.jobs[0]) == []
        assert len(list(members.folders(finder.jobs[0]))) == 1501
    finally:
        os.close(place)
        finder.close()
        for length in range(depth, -1, -1):
            os.rmdir(f"{made[0]}{'/a' * length}")  # noqa: PTH106 - the path is long


def test_slurms_own_daemon_is_believed_more_than_a_process_of_the_job(tmp_path: Path) -> None:
    folder = tmp_path / "tree/system.slice/slurmstepd.scope/sABCDEFGH01234"
    for place, number in (("user", 77), ("slurm", 78)):
        (folder / "step_0" / place).mkdir(parents=True)
        (folder / "step_0" / place / "cgroup.procs").write_text(f"{number}\n")
    for number in (77, 78):
        (tmp_path / f"host/proc/{number}").mkdir(parents=True)
    (tmp_path / "host/proc/77/environ").write_bytes(b"SLURM_JOB_ID=1\0")
    (tmp_path / "host/proc/78/cmdline").write_bytes(b"slurmstepd: [4711.batch]\0")
    (tmp_path / "host/proc/78/status").write_bytes(b"Name:\tslurmstepd\nUid:\t0\t0\t0\t0\n")
    finder = JobFinder(
        Host(tmp_path / "host", SystemClock(), {}, "n1"), Hierarchies({}, str(tmp_path / "tree")), [built_in("slurm")]
    )
    finder.look(1)
    assert _ids(finder.jobs) == ["4711"]
    finder.close()


def test_controllers_that_share_a_tree_are_all_found_in_it() -> None:
    trees = parse("32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n")
    assert trees.roots() == {"cpuacct": "/sys/fs/cgroup/cpu,cpuacct"}
    job = RunningJob(JobIdentity("oar", "", "7"), {"cpuacct": "oar/alice_7"}, 1)
    assert trees.folder("cpu", job) == trees.folder("cpuacct", job) == (1, "/sys/fs/cgroup/cpu,cpuacct/oar/alice_7")
    assert trees.folder("memory", job) is None


def test_a_tree_that_is_mounted_a_second_time_is_the_same_tree(groups: Groups, tmp_path: Path) -> None:
    if "cpuacct" not in groups.trees.old:
        pytest.skip("there is no tree of version 1 here")
    mount = ["mount", "-t", "cgroup", "-o", "cpuacct", "cgroup", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing is mounted here")
    try:
        trees = hierarchies(groups.host)
        assert trees.old == groups.trees.old
        groups.make("alice_7")
        finder = JobFinder(groups.host, trees, [rooted(str(tmp_path / groups.name), PATTERN, "oar")])
        finder.look(1)
        assert finder.jobs[0].cgroups.keys() >= set(groups.roots)
        finder.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert structs.astuple(hierarchies(groups.host))[2] == groups.trees.again
