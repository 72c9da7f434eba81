"""Finding jobs among real folders, and among the kernel's own control groups."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobmeter.observe.cgroups import Hierarchies, parse
from jobmeter.observe.host import Host, SystemClock, this_host
from jobmeter.observe.jobs import finder as finding
from jobmeter.observe.jobs import naming
from jobmeter.observe.jobs.finder import RETRY_SECONDS, JobFinder
from jobmeter.observe.jobs.profile import built_in, rooted
from tests.observe.kernel_groups import Groups, groups
from tests.process import PATIENCE_SECONDS, eventually

__all__ = ["groups"]


def _finder(root: Path, *names: str) -> JobFinder:
    """A finder in a plain folder that stands for the unified tree."""
    return JobFinder(Host(Path("/"), SystemClock(), {}, "n1"), Hierarchies({}, str(root)), [built_in(n) for n in names])


@pytest.fixture(autouse=True)
def as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is: a look lists the folders whenever the kernel has told something."""
    monkeypatch.setattr(finding, "_SHARE", 1e9)
    monkeypatch.setattr(naming, "_ANSWER_SECONDS", 60.0)


def _ids(finder: JobFinder) -> list[str]:
    return [job.identity.job for job in finder.jobs]


def test_both_forms_of_control_groups_stand_side_by_side() -> None:
    trees = parse(
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "41 31 0:38 / /sys/fs/cgroup/my\\040unified rw - cgroup2 cgroup2 rw\n"
        "42 31 0:29 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\nbroken line\n"
    )
    assert trees.unified == "/sys/fs/cgroup/my unified"
    assert trees.old == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }


def test_a_job_is_found_when_it_comes_and_missed_when_it_goes(tmp_path: Path) -> None:
    finder = _finder(tmp_path, "slurm", "oar")
    assert finder.look(1).begun == ()
    scope = tmp_path / "system.slice" / "n1_slurmstepd.scope"
    (scope / "job_33").mkdir(parents=True)
    found = finder.look(2).begun
    assert [(job.identity.manager, job.identity.job, job.found_ns, job.since_ns) for job in found] == [
        ("slurm", "33", 2, 2)
    ]
    (scope / "system").mkdir()
    assert finder.look(3).begun == ()
    (scope / "job_33").rmdir()
    assert [job.identity.job for job in finder.look(4).ended] == ["33"]
    assert finder.jobs == ()
    finder.close()


def test_a_job_that_was_there_before_has_no_known_beginning(tmp_path: Path) -> None:
    (tmp_path / "oar.slice" / "oar-u1.slice" / "oar-u1-j7.slice").mkdir(parents=True)
    finder = _finder(tmp_path, "oar")
    assert finder.look(1).begun[0].since_ns is None
    finder.close()


def test_a_folder_made_again_under_the_same_name_is_another_job(tmp_path: Path) -> None:
    folder = tmp_path / "oar.slice" / "oar-u1.slice" / "oar-u1-j7.slice"
    folder.mkdir(parents=True)
    finder = _finder(tmp_path, "oar")
    first = finder.look(1).begun
    held = os.open(folder, os.O_RDONLY)  # keeps the number of the old folder from being given to the new one
    folder.rmdir()
    folder.mkdir()
    changes = finder.look(2)
    os.close(held)
    assert changes.ended == first
    assert [job.found_ns for job in changes.begun] == [2]
    finder.close()


def test_a_root_that_is_removed_and_made_again_is_found_again(tmp_path: Path) -> None:
    root = tmp_path / "jobs"
    (root / "alice_1").mkdir(parents=True)
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [rooted(str(root), (r"_(\d+)$",), "oar")])
    finder.look(1)
    assert _ids(finder) == ["1"]
    (root / "alice_1").rmdir()
    root.rmdir()
    assert [job.identity.job for job in finder.look(2).ended] == ["1"]
    (root / "bob_2").mkdir(parents=True)
    eventually(lambda: finder.look(3) and _ids(finder) == ["2"])
    (root / "bob_3").mkdir()
    finder.look(4)
    assert _ids(finder) == ["2", "3"]
    finder.close()


def test_several_roots_and_patterns_of_a_person_are_all_used(tmp_path: Path) -> None:
    for name in ("one/alice_1", "one/x", "two/job.2.here"):
        (tmp_path / name).mkdir(parents=True)
    patterns = (r"_(\d+)$", r"job\.(?P<job>\d+)")
    profiles = [rooted(str(tmp_path / name), patterns, "oar", "c") for name in ("one", "two", "missing")]
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), profiles)
    finder.look(1)
    assert [(job.identity.cluster, job.identity.job) for job in finder.jobs] == [("c", "1"), ("c", "2")]
    finder.close()


def test_slurms_unique_id_becomes_the_jobs_number_once_a_process_tells_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    folder = tree / "system.slice" / "slurmstepd.scope" / "sABCDEFGH01234"
    (folder / "step_0" / "user").mkdir(parents=True)
    host = Host(tmp_path / "host", SystemClock(), {}, "n1")
    finder = JobFinder(host, Hierarchies({}, str(tree)), [built_in("slurm")])
    finder.look(1)
    assert _ids(finder) == []
    (folder / "step_0" / "user" / "cgroup.procs").write_text("77\n")
    (tmp_path / "host/proc/77").mkdir(parents=True)
    (tmp_path / "host/proc/77/environ").write_bytes(b"A=b\0SLURM_JOB_ID=4711\0SLURM_CLUSTER_NAME=c1\0")
    time.sleep(RETRY_SECONDS)
    finder.look(2)
    assert [(job.identity.cluster, job.identity.job) for job in finder.jobs] == [("c1", "4711")]
    finder.close()


def test_a_slot_that_takes_another_job_ends_the_first(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    slot = tree / "htcondor" / "condor_var_lib_condor_execute_slot1_1@n1"
    slot.mkdir(parents=True)
    (slot / "cgroup.procs").write_text("77\n")
    proc = tmp_path / "host/proc/77"
    proc.mkdir(parents=True)
    ad = tmp_path / "host/execute/dir_1/.job.ad"
    ad.parent.mkdir(parents=True)
    (proc / "environ").write_bytes(b"_CONDOR_SLOT=slot1_1\0_CONDOR_JOB_AD=/execute/dir_1/.job.ad\0")
    ad.write_text('ClusterId = 13\nGlobalJobId = "schedd.here#13.0#1795"\nProcId = 0\n')
    host = Host(tmp_path / "host", SystemClock(), {}, "n1")
    finder = JobFinder(host, Hierarchies({}, str(tree)), [built_in("htcondor")])
    finder.look(1)
    assert [(job.identity.cluster, job.identity.job) for job in finder.jobs] == [("schedd.here", "13.0")]
    ad.write_text('ClusterId = 14\nGlobalJobId = "schedd.here#14.2#1796"\nProcId = 2\n')
    (tree / "htcondor" / "stirs").mkdir()
    changes = finder.look(2)
    assert [job.identity.job for job in changes.ended] == ["13.0"]
    assert [job.identity.job for job in changes.begun] == ["14.2"]
    finder.close()


@pytest.mark.parametrize(
    ("manager", "folder", "job"),
    [
        (
            "kubernetes",
            "kubepods.slice/kubepods-pod0e81849e_a7f7_4e22_ae73_a0c41c40bb79.slice",
            "0e81849e-a7f7-4e22-ae73-a0c41c40bb79",
        ),
        (
            "kubernetes",
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0e81849e_a7f7_4e22_ae73_a0c41c40bb79.slice",
            "0e81849e-a7f7-4e22-ae73-a0c41c40bb79",
        ),
        ("kubernetes", "kubepods/besteffort/pod0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        (
            "kubernetes",
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
            "kubelet-kubepods-besteffort-pod0e81849e_a7f7_4e22_ae73_a0c41c40bb79.slice",
            "0e81849e-a7f7-4e22-ae73-a0c41c40bb79",
        ),
        ("slurm", "slurm/uid_0/job_1", "1"),
        ("slurm", "system.slice/slurmstepd.scope/job_9", "9"),
        ("systemd", "system.slice/run-r1234.scope", "run-r1234"),
        ("systemd", "user.slice/user-1000.slice/session-3.scope", "session-3"),
        ("jobmeter", "jobmeter/run-abc", "abc"),
        ("oar", "oar/jean_luc_42", "42"),
    ],
)
def test_the_layouts_that_batch_systems_document(tmp_path: Path, manager: str, folder: str, job: str) -> None:
    (tmp_path / folder / "inner").mkdir(parents=True)
    finder = _finder(tmp_path, manager)
    finder.look(1)
    assert [(each.identity.manager, each.identity.job) for each in finder.jobs] == [(manager, job)]
    finder.close()


def test_names_that_are_no_jobs_are_none(tmp_path: Path) -> None:
    for name in ("slurm/uid_0/job_x", "oar/alice", "kubepods/burstable", "htcondor/other", "kubepods/podbad"):
        (tmp_path / name).mkdir(parents=True)
    finder = _finder(tmp_path, "slurm", "oar", "kubernetes", "htcondor")
    finder.look(1)
    assert finder.jobs == ()
    finder.close()


def test_the_kernel_tells_at_once_of_a_new_group(groups: Groups) -> None:
    finder = JobFinder(groups.host, groups.trees, [rooted(str(groups.root), (r"_(\d+)$",), "oar")])
    finder.look(1)
    assert finder.descriptor is not None
    groups.make("alice_5")
    assert select.select([finder.descriptor], [], [], PATIENCE_SECONDS)[0]
    begun = finder.look(2).begun
    assert [job.identity.job for job in begun] == ["5"]
    eventually(lambda: finder.look(3) and set(finder.jobs[0].cgroups) >= set(groups.roots))
    groups.remove("alice_5")
    assert [job.identity.job for job in finder.look(4).ended] == ["5"]
    finder.close()


def test_a_job_ends_with_the_last_of_its_folders_whichever_goes_first(tmp_path: Path) -> None:
    trees = {name: str(tmp_path / name) for name in ("cpuset", "cpuacct")}
    for order in (("cpuset", "cpuacct"), ("cpuacct", "cpuset")):
        for tree in trees.values():
            Path(tree, "oar", "alice_1").mkdir(parents=True)
        finder = JobFinder(
            this_host(), Hierarchies(trees, None), [rooted(f"{trees['cpuset']}/oar", (r"_(\d+)$",), "oar")]
        )
        finder.look(1)
        assert set(finder.jobs[0].cgroups) == set(trees)
        Path(trees[order[0]], "oar", "alice_1").rmdir()
        assert finder.look(2).ended == ()
        assert finder.look(3).ended == ()
        Path(trees[order[1]], "oar", "alice_1").rmdir()
        assert [job.identity.job for job in finder.look(4).ended] == ["1"]
        finder.close()


@pytest.mark.parametrize("parents", [("oar",), ()], ids=["its place is there", "its place comes with it"])
def test_the_kernel_tells_of_a_folder_that_a_job_gets_later_in_another_tree(
    tmp_path: Path, parents: tuple[str, ...]
) -> None:
    trees = {name: str(tmp_path / name) for name in ("cpuacct", "memory")}
    Path(trees["cpuacct"], "oar").mkdir(parents=True)
    Path(trees["memory"], *parents).mkdir(parents=True)
    profile = rooted(f"{trees['cpuacct']}/oar", (r"_(\d+)$",), "oar")
    finder = JobFinder(this_host(), Hierarchies(trees, None), [profile])
    finder.look(1)
    Path(trees["cpuacct"], "oar", "alice_1").mkdir()
    assert len(finder.look(2).begun) == 1
    for name in ("oar", "oar/alice_1"):
        Path(trees["memory"], name).mkdir(exist_ok=True)
        finder.look(3)
    assert set(finder.jobs[0].cgroups) == set(trees)
    finder.close()


def test_where_the_kernel_refuses_to_watch_a_job_that_went_is_missed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "alice_1").mkdir(parents=True)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from jobmeter.observe.cgroups import Hierarchies\nfrom jobmeter.observe.host import this_host\n"
        "from jobmeter.observe.jobs.finder import JobFinder\nfrom jobmeter.observe.jobs.profile import rooted\n"
        "root = Path(sys.argv[1])\n"
        "finder = JobFinder(this_host(), Hierarchies({}, str(root)), [rooted(f'{root}/jobs', (r'_(\\d+)$',), 'oar')])\n"
        "print(finder._watcher.is_whole)\nfinder.look(1)\nprint(finder._watcher.is_whole)\n"
        "(root / 'jobs' / 'alice_1').rmdir()\nprint([job.identity.job for job in finder.look(2).ended])\n"
    )
    limit = Path("/proc/sys/user/max_inotify_watches")
    assert limit.exists()
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", f'echo 0 > {limit} && exec "$@"', "sh"]
    done = subprocess.run(
        [*words, sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=False, text=True
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no namespaces of users here: {done.stderr}")
    assert done.stdout.split("\n")[:3] == ["True", "False", "['1']"], done.stderr
