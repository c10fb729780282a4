"""Runs a recipe: `python main.py --config=configs/things.py`, which writes to runs/things."""

import os
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from alignet.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the artifacts and the report; by default runs/NAME of the config."
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
    # JAX tells at length which accelerators it did not find.
    logging.set_verbosity(logging.WARNING)
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    workdir = WORKDIR.value or os.path.join("runs", Path(file).stem)
    # Imported late: a mistyped option is reported without waiting for JAX.
    import jax

    # Steps that compile the same program, and a run that goes on, share it.
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", os.path.join(workdir, "compiled"))
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        jax.distributed.initialize()
    if (recipe := CONFIG.value.get("recipe")) == "embed":
        from alignet import embed

        embed.run(CONFIG.value, workdir)
        return 0
    from alignet import ablations, chain
    from evals.recipes import ablations_report, report

    steps, results = (ablations, ablations_report) if recipe == "ablations" else (chain, report)
    steps.run(CONFIG.value, workdir)
    return results.run(CONFIG.value, workdir)


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
    except (InputError, FloatingPointError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here.", file=sys.stderr)
        os._exit(130)


if __name__ == "__main__":
    launch()
