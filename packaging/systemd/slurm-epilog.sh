#!/bin/sh
# An EpilogSlurmctld that lets jobmeter account each job that ends. In slurm.conf:
#     EpilogSlurmctld=/etc/jobmeter/slurm-epilog.sh
# slurmctld runs it as SlurmUser, who must be able to write the log, and the folder of the spool (/var/lib/jobmeter-epilog).
exec >> /var/log/jobmeter/slurm-epilog.log 2>&1
# Not every job? Then leave the others out here: no process of jobmeter is started for them.
# [ "$SLURM_JOB_PARTITION" = some_partition ] || exit 0
exec /usr/bin/auditor-slurm-epilog-collector /etc/jobmeter/slurm-epilog.toml
