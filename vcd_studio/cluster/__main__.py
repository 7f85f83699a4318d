"""``python -m vcd_studio.cluster --device slurm [--once] [--kept PID]``: the relay's process."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from vcd_studio.cluster.ready import need_cluster
from vcd_studio.jobs.model import CLUSTERS
from vcd_studio.jobs.processes import parent
from vcd_studio.jobs.store import Store
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import exit_code_of


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when asked to end or done, 1 when the queue failed, 2 for wrong input (a second relay, a setting that is missing)."""
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.cluster", description="Hand the queue's jobs to a cluster.")
    parser.add_argument("--device", default="slurm", choices=CLUSTERS, help="which cluster (default: slurm)")
    parser.add_argument("--once", action="store_true", help="end when no job is left")
    parser.add_argument("--kept", type=int, metavar="PID", help="the process that started this one, and starts it again if it dies")
    options = parser.parse_args(arguments)
    keeper = parent(options.kept)

    def work() -> None:
        settings = need_cluster(options.device)
        from vcd_studio.cluster.relay import Relay
        from vcd_studio.cluster.slurm import Slurm

        with Store() as store, Lease(options.device, keeper) as lease, WakeUp(lease.device) as wake_up:
            relay = Relay(store, lease, wake_up, Slurm(settings), settings)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, relay.end)
            print(f"relay {lease.worker.pid} holds {lease.device}; queue {store.path}; shared folder {relay.folder}", flush=True)
            relay.run(once=options.once)
            print(f"relay {lease.worker.pid} ends", flush=True)

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())
