"""Which of our metrics fills which column of Colmet's records.

A record of Colmet is made of the samples of one source, one job and one instant. `Column.rule` says how the instances
of a metric ("mlx5_0/1", "package-0/core") become one number, and `Column.divide` what our unit has to be divided by.
The columns stand in the order of Colmet's records.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Rule(Enum):
    """How a column is made of the values of one metric."""

    ONLY = "only"
    """The value of the one sample."""
    SUM = "sum"
    """The sum over all instances."""
    LAST = "last"
    """The value of the last instance, in their order."""
    SLOT = "slot"
    """The value of the instance that stands at the column's place, see `Record.slots`."""
    SLOT_STEP = "slot-step"
    """As SLOT, the growth since the record before."""
    INVOLVED = "involved"
    """The ids of the jobs that were on the node, as JSON text."""


class Column(Struct, frozen=True):
    """One column. `slot` counts from 0 for the rules that need a place."""

    name: str
    metric: str
    rule: Rule = Rule.ONLY
    divide: int = 1
    slot: int = 0


class Record(Struct, frozen=True):
    """One class of Colmet's records: its name on the wire, the source of ours that fills it, its columns.

    `slots` says what a place is: "zone" the zones of RAPL, three for each package (package, core, dram), energy and
    range in turn; "index" the number at the end of the instance; "event" the events in the order of the settings, which
    is that of `Sample.metrics`.
    """

    name: str
    source: str
    columns: tuple[Column, ...]
    slots: str = ""


INVOLVED = Column("involved_jobs", "", Rule.INVOLVED)

TASKSTATS = (
    "cpu_count",
    "cpu_delay_total",
    "blkio_count",
    "blkio_delay_total",
    "swapin_count",
    "swapin_delay_total",
    "cpu_run_real_total",
    "cpu_run_virtual_total",
    "ac_btime",
    "ac_etime",
    "ac_utime",
    "ac_stime",
    "ac_minflt",
    "ac_majflt",
    "coremem",
    "virtmem",
    "read_char",
    "write_char",
    "read_syscalls",
    "write_syscalls",
    "read_bytes",
    "write_bytes",
    "cancelled_write_bytes",
    "nvcsw",
    "nivcsw",
    "ac_utimescaled",
    "ac_stimescaled",
    "cpu_scaled_run_real_total",
    "freepages_count",
    "freepages_delay_total",
)
MEMINFO = (
    "memtotal",
    "memfree",
    "buffers",
    "cached",
    "swapcached",
    "active",
    "inactive",
    "unevictable",
    "mlocked",
    "swaptotal",
    "swapfree",
    "dirty",
    "writeback",
    "anonpages",
    "mapped",
    "shmem",
    "slab",
    "sreclaimable",
    "sunreclaim",
    "kernelstack",
    "pagetables",
    "nfs_unstable",
    "bounce",
    "writebacktmp",
    "commitlimit",
    "committed_as",
    "vmalloctotal",
    "vmallocused",
    "vmallocchunk",
    "anonhugepages",
    "hugepages_total",
    "hugepages_free",
    "hugepages_rsvd",
    "hugepages_surp",
    "hugepagesize",
    "directmap4k",
    "directmap2m",
)
VMSTAT = ("pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault")
CPU_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "guest", "guest_nice")
PROCSTATS = (
    "uptime_total",
    "uptime_idle",
    *(f"meminfo_{key}" for key in MEMINFO),
    *(f"vmstat_{key}" for key in VMSTAT),
    *(f"stat_cpu_{state}" for state in CPU_STATES),
    "stat_intr",
    "stat_ctxt",
    "stat_processes",
    "stat_procs_blocked",
    "loadavg_1min",
    "loadavg_5min",
    "loadavg_15min",
    "loadavg_runnable",
    "loadavg_total_threads",
)
JOBPROC = (
    "rchar",
    "wchar",
    "syscr",
    "syscw",
    "read_bytes",
    "write_bytes",
    "cancelled_write_bytes",
    "VmRSS",
    "RssShmem",
    "VmSize",
)
RAPL_PLACES = 12

RECORDS = (
    Record("taskstats_default", "taskstats", tuple(Column(name, f"taskstats_{name}") for name in TASKSTATS)),
    Record("procstats_default", "procstats", (*(Column(name, f"procstats_{name}") for name in PROCSTATS), INVOLVED)),
    Record("jobprocstats_default", "jobproc", tuple(Column(name, f"jobproc_{name.lower()}") for name in JOBPROC)),
    Record(
        "perfhwstats_default",
        "perf",
        tuple(Column(f"counter_{place + 1}", "", Rule.SLOT_STEP, slot=place) for place in range(5)),
        slots="event",
    ),
    Record(
        "nvidiastats_default",
        "nvidia",
        (
            Column("power", "nvidia_power", Rule.SUM, divide=1000),
            Column("temperature", "nvidia_temperature", Rule.LAST),
            Column("utilization-gpu", "nvidia_utilization_gpu", Rule.SUM),
            Column("utilization-memory", "nvidia_utilization_memory", Rule.SUM),
            Column("memory-total", "nvidia_memory_total", Rule.SUM, divide=1 << 20),
            Column("memory-free", "nvidia_memory_free", Rule.SUM, divide=1 << 20),
            Column("memory-used", "nvidia_memory_used", Rule.SUM, divide=1 << 20),
        ),
    ),
    Record(
        "RAPLstats_default",
        "rapl",
        (
            *(
                column
                for place in range(RAPL_PLACES)
                for column in (
                    Column(f"counter_{2 * place + 1}", "rapl_energy", Rule.SLOT_STEP, slot=place),
                    Column(f"counter_{2 * place + 2}", "rapl_energy_range", Rule.SLOT, slot=place),
                )
            ),
            INVOLVED,
        ),
        slots="zone",
    ),
    Record(
        "infinibandstats_default",
        "infiniband",
        (
            Column("portXmitData", "infiniband_port_xmit_data", Rule.SUM),
            Column("portRcvData", "infiniband_port_rcv_data", Rule.SUM),
            Column("portXmitPkts", "infiniband_port_xmit_packets", Rule.SUM),
            Column("portRcvPkts", "infiniband_port_rcv_packets", Rule.SUM),
            INVOLVED,
        ),
    ),
    Record(
        "lustrestats_default",
        "lustre",
        (
            Column("lustre_nb_read", "lustre_reads", Rule.SUM),
            Column("lustre_bytes_read", "lustre_read_bytes", Rule.SUM),
            Column("lustre_nb_write", "lustre_writes", Rule.SUM),
            Column("lustre_bytes_write", "lustre_write_bytes", Rule.SUM),
            INVOLVED,
        ),
    ),
    Record("ipmipowerstats_default", "ipmi", (Column("average_power_consumption", "ipmi_power", Rule.ONLY), INVOLVED)),
    Record(
        "temperaturestats_default",
        "thermal",
        tuple(
            Column(f"counter_{place + 1}", "thermal_temperature", Rule.SLOT, divide=1000, slot=place)
            for place in range(6)
        ),
        slots="index",
    ),
)
"""All of Colmet's records. Its units: those of the metrics named here, after `divide`."""
