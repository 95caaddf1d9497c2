"""The verb help, and the examples that end the help of every verb."""

from typing import Annotated

import typer
from rich.markup import escape

from benchmark.cli.options import among
from benchmark.errors import unknown

EXAMPLES = {
    "": (
        "ganbench run --matrix quick",
        "ganbench report --matrix quick",
        "ganbench help run",
        "ganbench --install-completion",
    ),
    "list": (
        "ganbench list",
        "ganbench list objectives",
        "ganbench list wgan_gp",
        "ganbench list training",
        "ganbench list fid --json",
    ),
    "run": (
        "ganbench run --matrix quick",
        "ganbench run --matrix quick --dry-run",
        'ganbench run --matrix mine.toml --only "objective=wgan_gp seed=0"',
        "ganbench run --matrix quick --set training.steps=200 --results try",
        "ganbench run --matrix cifar10 --device cuda --jobs 4 --shard 1/2",
    ),
    "status": (
        "ganbench status --matrix quick",
        "ganbench status --matrix quick --watch",
        "ganbench status --matrix quick --json",
    ),
    "tables": ("ganbench tables --matrix quick",),
    "plots": ("ganbench plots --matrix quick",),
    "report": ("ganbench report --matrix quick", "ganbench report --results try"),
    "compare": (
        "ganbench compare wgan_gp wgan_fdgp --matrix quick",
        'ganbench compare wgan_gp "wgan_fdgp[pairs=independent]" --of all --output compared',
        "ganbench compare results/runs/quick try/quick",
    ),
    "check": (
        "ganbench check --matrix quick",
        "ganbench check --matrix quick --all",
        "ganbench check --matrix quick --junit check.xml --markdown check.md",
    ),
    "accept": (
        "ganbench accept --matrix quick",
        "ganbench accept --matrix quick --baselines my_baselines",
    ),
    "history": (
        "ganbench history",
        "ganbench history old/quick new/quick --csv history.csv",
        "ganbench history --since 0123456789 --all",
    ),
    "verify": ("ganbench verify results/submissions/0.1/mine", "ganbench verify"),
    "merge": ("ganbench merge a/quick b/quick --into results/runs/quick",),
    "measure": (
        "ganbench measure --matrix quick",
        "ganbench measure --matrix quick --only objective=wgan --force",
    ),
    "audit": ("ganbench audit --matrix quick", "ganbench audit --matrix quick --output audit"),
    "sample": (
        "ganbench sample wgan_gp-dcgan --n 10000",
        'ganbench sample "wgan_gp-dcgan*seed0*" --png --output samples',
    ),
    "export": (
        "ganbench export tensorboard --matrix quick",
        "ganbench export mlflow --to http://127.0.0.1:5000",
        "ganbench export wandb --only seed=0 --follow",
        "ganbench export bencher --to bencher.json",
    ),
    "explain": ("ganbench explain", "ganbench explain penalty", "ganbench explain penalty --full"),
    "new": (
        "ganbench new objective my_loss",
        "ganbench new dataset my_data --variants my_variants",
    ),
    "help": ("ganbench help run",),
}


def epilog(verb: str) -> str:
    """The examples of a verb as its help shows them; the empty string: of the program."""
    lines = [escape(line) for line in EXAMPLES[verb]]
    return "\n".join(["Examples:\n", *lines])


def help_of(
    context: typer.Context,
    verb: Annotated[
        str | None,
        typer.Argument(
            help="A verb; none: all of them.",
            autocompletion=among(lambda: [verb for verb in EXAMPLES if verb]),
        ),
    ] = None,
) -> None:
    """Show the help of a verb."""
    program = context.find_root()
    if verb is None:
        print(program.get_help())
        return
    commands = getattr(program.command, "commands", {})
    if verb not in commands:
        raise unknown("verb", verb, commands)
    command = commands[verb]
    with command.make_context(verb, [], parent=program, resilient_parsing=True) as own:
        print(own.get_help())
