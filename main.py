"""Runs a recipe: `python main.py --config=configs/things.py`, which writes to runs/things."""

import importlib
import os
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from alignet.errors import InputError, Preempted

# The modules of each recipe; their `run` takes the configuration and the folder, in order.
RECIPES = {
    "chain": ("alignet.recipes.chain", "evals.recipes.report"),
    "ablations": ("alignet.recipes.ablations", "evals.recipes.ablations_report"),
    "embed": ("alignet.embed",),
    "alignet_dataset": ("alignet.recipes.alignet_dataset",),
    "distill": ("evals.recipes.distillation",),
    "four_way": ("evals.recipes.four_way",),
    "photographs": ("alignet.recipes.photographs", "evals.recipes.photographs_report"),
}

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the artifacts and the report; by default runs/NAME of the config."
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Whether the same command was started in several processes: on a pod."
)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise InputError(f"unexpected argument {argv[1]!r}; options look like --config=FILE.")
    if CONFIG.value is None or WORKDIR.value == "":
        raise InputError("--config=configs/NAME.py is expected, and --workdir=FOLDER if any.")
    try:
        CONFIG.value.to_dict()
    except OSError as error:
        # A file that could not be loaded is reported only now, when it is first looked at.
        raise InputError(f"bad --config: {error}") from None
    # JAX tells at length which accelerators it did not find, and orbax what it raises as well.
    logging.set_verbosity(logging.FATAL)
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = WORKDIR.value or os.path.join("runs", Path(file).stem)
    recipe = CONFIG.value.get("recipe", "chain")
    if "://" in workdir and recipe != "distill":
        raise InputError(
            f"--workdir: {workdir} is in a bucket, where only distillation can work; expected a "
            "folder, perhaps one where the bucket is mounted."
        )
    # Imported late: a mistyped option is reported without waiting for JAX.
    import jax

    # Steps that compile the same program, and a run that goes on, share it.
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", os.path.join(workdir, "compiled"))
    if DISTRIBUTED.value or "JAX_COORDINATOR_ADDRESS" in os.environ:
        from alignet.runtime import processes

        processes.join()
    status = None
    for name in RECIPES[recipe]:
        status = importlib.import_module(name).run(CONFIG.value, workdir)
    return status or 0


def parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        raise InputError(str(error)) from None
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        # config_flags lets a mistyped field or file name through as these.
        unknown = error.__context__
        if isinstance(unknown, KeyError):
            field = str(unknown.args[0]).replace("\n", ". ")
            raise InputError(f"the config has no field {field}") from None
        raise InputError(f"bad --config option: {error}") from None


def launch() -> None:
    """Runs `main`; what the user got wrong ends in one sentence and status 2."""
    try:
        app.run(main, flags_parser=parse)
    except Preempted as stopped:
        print(stopped, file=sys.stderr)
    except (InputError, FloatingPointError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        # At once: a checkpoint's threads would say at length that they failed.
        os._exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here.", file=sys.stderr)
        os._exit(130)


if __name__ == "__main__":
    launch()
