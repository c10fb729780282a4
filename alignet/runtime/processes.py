"""Several processes, on one machine or on many, that run the same command as one."""

import os
import sys
import threading

import jax

from alignet.errors import InputError

VARIABLES = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
TIMEOUT = 300  # seconds for which a process waits for the others
# So long those that are done wait for the first, which may have clusters and triplets to make; JAX
# would end it after five minutes.
WEEK = 7 * 24 * 3600


def join() -> None:
    """Finds the other processes, as the environment tells.

    TPU pods, Slurm and Open MPI tell JAX by themselves. Elsewhere JAX_COORDINATOR_ADDRESS is the
    HOST:PORT of the first process, of JAX_NUM_PROCESSES, and JAX_PROCESS_ID the number from 0.
    If the others do not come, one sentence says so and this process ends with status 2.

    Raises:
        InputError: nothing says where they are.
    """
    # Not JAX's own time limit: it ends the process with a page of addresses.
    timer = threading.Timer(TIMEOUT, _give_up)
    timer.daemon = True
    timer.start()
    try:
        given = {
            argument: int(os.environ[variable])
            for argument, variable in VARIABLES.items()
            if variable in os.environ
        }
        jax.distributed.initialize(
            **given, initialization_timeout=2 * TIMEOUT, shutdown_timeout_seconds=WEEK
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"the processes cannot find each other ({reason}); expected a pod, Slurm or Open MPI "
            "to tell, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID."
        ) from None
    finally:
        timer.cancel()


def _give_up() -> None:
    print(
        f"error: not all processes came within {TIMEOUT} seconds; expected the same command to be "
        "started on every worker, on a TPU pod with --worker=all, and the first to be reachable.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)
