#!/usr/bin/env bash
# A SLURM of two nodes on this machine, for tests/pipeline/test_slurm.py: loopback only, no accounting, gone afterwards.
# It installs nothing: Debian's slurmctld, slurmd, slurm-client and munge have to be there, and root.
#
# slurm.sh up DIR      starts it in DIR, which is to be absent or empty
# slurm.sh down DIR    ends its jobs, its daemons and its links
set -euo pipefail
dir=${2:?slurm.sh up|down DIR}

no() { echo "no SLURM: $*" >&2; exit 1; }

up() {
  [ "$(id -u)" = 0 ] || no "needs root"
  for program in munged slurmctld slurmd sbatch; do
    command -v $program >/dev/null || no "$program is not installed"
  done
  for file in slurm.conf gres.conf cgroup.conf; do
    # Snakemake drops SLURM_CONF inside its jobs, so that only this place is read there.
    [ ! -e /etc/slurm/$file ] && [ ! -L /etc/slurm/$file ] || no "/etc/slurm/$file exists; a SLURM of this machine's own is not touched"
  done
  host=$(hostname -s)
  address=$(getent ahostsv4 "$host" | awk 'NR == 1 {print $1}')
  case $address in 127.*) ;; *) no "$host resolves to '$address', not to 127.0.0.1" ;; esac

  mkdir -p "$dir"/{etc,munge,state,spool/n1,spool/n2,run}
  chmod 755 "$dir" "$dir/run"
  chmod 700 "$dir/munge"
  head -c 1024 /dev/urandom >"$dir/munge/key"
  chmod 600 "$dir/munge/key"
  cat >"$dir/etc/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host($address)
SlurmctldPort=26817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.sock
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MailProg=/bin/true
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
EnforcePartLimits=ALL
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=30
KillWait=2
MinJobAge=300
GresTypes=gpu
NodeName=n1 NodeHostname=$host NodeAddr=$address Port=26821 CPUs=4 RealMemory=8000
NodeName=n2 NodeHostname=$host NodeAddr=$address Port=26822 CPUs=4 RealMemory=8000 Gres=gpu:1
PartitionName=cpu Nodes=n1,n2 Default=YES DefaultTime=10 MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
PartitionName=gpu Nodes=n2 DefaultTime=10 MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
CONF
  printf 'AutoDetect=off\nNodeName=n2 Name=gpu Count=1 File=/dev/null\n' >"$dir/etc/gres.conf"
  printf 'CgroupAutomount=no\n' >"$dir/etc/cgroup.conf"
  mkdir -p /etc/slurm
  for file in slurm.conf gres.conf cgroup.conf; do ln -s "$dir/etc/$file" /etc/slurm/$file; done

  daemon munged --foreground --socket="$dir/run/munge.sock" --key-file="$dir/munge/key" \
    --pid-file="$dir/run/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge/seed"
  answers munge -n -S "$dir/run/munge.sock"
  daemon slurmctld -D
  answers scontrol ping
  daemon slurmd -D -N n1
  daemon slurmd -D -N n2
  answers idle
  sinfo
}

daemon() { # its pid and when it began, so that no other process is ever stopped in its place
  setsid "$@" >>"$dir/daemons.log" 2>&1 </dev/null &
  sleep 0.2
  echo "$! $(started $! || true)" >>"$dir/pids"
}

started() { # ticks since the machine's start; nothing where the process is gone
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'
}

answers() {
  for _ in $(seq 120); do "$@" >/dev/null 2>&1 && return; sleep 0.5; done
  tail -n 3 "$dir/daemons.log" >&2
  down
  no "'$*' failed for a minute"
}

idle() { [ "$(sinfo --noheader --Node --partition=cpu --states=idle --format=%N | wc -l)" = 2 ]; }

down() {
  [ -f "$dir/pids" ] || no "$dir was not made by slurm.sh"
  if [ "$(readlink /etc/slurm/slurm.conf)" = "$dir/etc/slurm.conf" ] && timeout 10 squeue --noheader >/dev/null 2>&1; then
    scancel --user=root
    for _ in $(seq 60); do [ -z "$(squeue --noheader)" ] && break; sleep 0.5; done
  fi
  tac "$dir/pids" | while read -r pid begun; do
    [ -n "$begun" ] && [ "$(started "$pid")" = "$begun" ] || continue
    kill "$pid"
    for _ in $(seq 40); do [ "$(started "$pid")" = "$begun" ] || continue 2; sleep 0.25; done
    kill -KILL "$pid"
  done
  for file in slurm.conf gres.conf cgroup.conf; do
    [ "$(readlink /etc/slurm/$file)" != "$dir/etc/$file" ] || rm "/etc/slurm/$file"
  done
  rm -rf "$dir"
}

case ${1:-} in up) up ;; down) down ;; *) no "slurm.sh up|down DIR" ;; esac
