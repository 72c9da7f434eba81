"""The text form: what a user types may imitate any field, and is never taken for one."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm import scontrol_json
from jobmeter.observe.slurm.scontrol_json import NoDocument
from jobmeter.observe.slurm.scontrol_text import nodes_in, parse

JOB = """\
JobId=17 JobName=job
   UserId=alice(5001) GroupId=physics(5001) MCS_label=N/A
   Priority=4294901754 Nice=0 Account=physics QOS=normal WCKey=key
   JobState=COMPLETING Reason=None Dependency=(null)
   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
   DerivedExitCode=0:0
   RunTime=00:30:00 TimeLimit=10:00:00 TimeMin=N/A
   SubmitTime=2026-11-21T09:00:00 EligibleTime=2026-11-21T09:00:00
   AccrueTime=2026-11-21T09:00:00
   StartTime=2026-11-21T10:00:00 EndTime=2026-11-21T10:30:00 Deadline=N/A
   SuspendTime=None SecsPreSuspend=0 LastSchedEval=2026-11-21T10:00:00 Scheduler=Backfill
   Partition=batch AllocNode:Sid=localhost:3246
   ReqNodeList=(null) ExcNodeList=(null)
   NodeList=n[1-3],m2
   BatchHost=n1
   NumNodes=4 NumCPUs=2 NumTasks=2 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   TRES=cpu=2,mem=400M,node=4,billing=2
   Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
   JOB_GRES=(null)
     Nodes=n[1-3] CPU_IDs=1 Mem=100 GRES=
     Nodes=m2 CPU_IDs=0-1 Mem=100 GRES=
   MinCPUsNode=1 MinMemoryNode=10M MinTmpDiskNode=0
   Features=(null) DelayBoot=00:00:00
   OverSubscribe=YES Contiguous=0 Licenses=(null) Network=(null)
   Command=/home/alice/job.sh
   WorkDir=/home/alice
   Comment=none{blank}
   StdErr=/dev/null
   StdIn=/dev/null
   StdOut=/dev/null
   Power=
   {blank}

""".replace("{blank}", " ")

SPOOFS = [
    "x NumCPUs=9999 JobState=COMPLETED",
    "x UserId=bob(1) GroupId=bob(1) MCS_label=N/A",
    "x\n   NumNodes=1 NumCPUs=77 NumTasks=1",
    "x\n   UserId=bob(1) GroupId=bob(1) MCS_label=N/A\n   NumNodes=1 NumCPUs=77 NumTasks=1",
    "x\nJobId=17 JobName=x\n   UserId=bob(1) GroupId=bob(1) MCS_label=N/A",
    "x\n\nJobId=17 JobName=job\n   UserId=bob(1) GroupId=bob(1) MCS_label=N/A\n   NumNodes=1 NumCPUs=77 ",
    "x\n     Nodes=n[1-900] CPU_IDs=1 Mem=100 GRES=",
    "x\n   Features=a DelayBoot=1\n   Command=y",
    JOB,
]
FACTS = {
    "JobId": "17", "UserId": "alice(5001)", "GroupId": "physics(5001)", "NumCPUs": "2", "Mem": "400",
    "JobState": "COMPLETING", "StartTime": "2026-11-21T10:00:00", "EndTime": "2026-11-21T10:30:00",
    "Partition": "batch", "RunTime": "00:30:00", "TRES": "cpu=2,mem=400M,node=4,billing=2", "Restarts": "0",
}  # fmt: skip


def printed(head: str = "JobId=17 JobName=job", **changed: str) -> str:
    """The job with other fields, each given as scontrol would print it from its key on."""
    text = JOB.replace("JobId=17 JobName=job", head, 1)
    for key, field in changed.items():
        text, count = re.subn(rf"(?<= ){key}=\S*", lambda _, field=field: field, text, count=1)  # type: ignore[misc]
        assert count, key
    return text


def facts(text: str, name: str | None) -> dict[str, str]:
    found = parse(text, 17, name)
    return {key: found[key] for key in FACTS}


def test_all_values_are_read() -> None:
    found = parse(JOB, 17, None)
    assert {key: found[key] for key in FACTS} == FACTS
    assert found["JobName"] == "job"
    assert found["Comment"] == "none"
    assert found["CPUs/Task"] == "1"
    assert "Licenses" not in found


@pytest.mark.parametrize("spoof", SPOOFS)
@pytest.mark.parametrize("field", ["Comment", "Command", "WorkDir", "StdOut", "Network", "Features"])
def test_no_text_of_a_user_becomes_a_fact(field: str, spoof: str) -> None:
    text = re.sub(rf"(?<= ){field}=\S*", lambda _: f"{field}={spoof}", JOB, count=1)
    for name in ("job", None):
        try:
            assert facts(text, name) == FACTS
        except Unreadable as fault:
            assert name is None, fault  # without the name, two owners are one too many


@pytest.mark.parametrize("spoof", SPOOFS)
def test_no_name_of_a_job_becomes_a_fact(spoof: str) -> None:
    text = printed(head=f"JobId=17 JobName={spoof}")
    assert facts(text, spoof) == FACTS
    assert parse(text, 17, spoof)["JobName"] == spoof
    try:
        assert facts(text, None) == FACTS
    except Unreadable:
        assert "UserId=" in spoof


@pytest.mark.parametrize("spoof", SPOOFS)
def test_a_workload_key_that_imitates_lines_is_refused_at_most(spoof: str) -> None:
    text = JOB.replace("WCKey=key", f"WCKey={spoof}")
    try:
        assert facts(text, "job") == FACTS
    except Unreadable:
        assert "\n" in spoof


def test_a_key_that_scontrol_did_not_print_cannot_be_supplied_by_a_user() -> None:
    text = printed(Network="Network=a Reservation=prio", Comment="Comment=b Reservation=prio")
    assert "Reservation" not in parse(text, 17, "job")


def test_a_key_that_stands_twice_among_the_texts_is_given_by_nobody() -> None:
    text = printed(Command="Command=x\n   AdminComment=privileged", StdErr="AdminComment=real\n   StdErr=y")
    assert "AdminComment" not in parse(text, 17, "job")


def test_another_job_is_not_taken_for_this_one() -> None:
    with pytest.raises(Unreadable, match="did not print the job 18"):
        parse(JOB, 18, None)


@pytest.mark.parametrize(
    ("expression", "count"), [("n1", 1), ("n[1-3]", 3), ("n[1-3,7],m2", 5), ("r[1-2]n[01-10]", 20), ("a,b,c", 3)]
)
def test_nodes_are_counted(expression: str, count: int) -> None:
    assert nodes_in(expression) == count


@given(st.text(), st.none() | st.text())
def test_any_text_is_read_or_refused(text: str, name: str | None) -> None:
    for printed_text in (text, JOB[:300] + text, JOB.replace("Comment=none", f"Comment={text}")):
        try:
            parse(printed_text, 17, name)
        except Unreadable:
            continue


@given(st.text(alphabet=st.sampled_from("x =\n()0123456789UserIdJobNamCPs/,[]-")))
def test_whatever_a_name_is_the_facts_stay(name: str) -> None:
    assert facts(printed(head=f"JobId=17 JobName={name}"), name) == FACTS


_JSON_KEYS = (
    *("job_id", "jobs", "job_state", "start_time", "end_time", "time_limit", "user_id", "set", "number"),
    *("job_resources", "nodes", "allocation", "memory", "allocated"),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_JSON_KEYS), inner),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    for document in (value, {"jobs": [value]}, {"jobs": [{**value, "job_id": 17}]} if isinstance(value, dict) else []):
        try:
            scontrol_json.parse(json.dumps(document), 17)
        except (NoDocument, Unreadable):
            continue
