"""Every mistake in a matrix, and in a flag of `run`, is one line that names it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended

Parts = dict[str, str]


# Parts of a matrix file


def objectives(*values: str) -> Parts:
    return {"objectives": f"objectives = [{', '.join(values)}]"}


def architectures(*values: str) -> Parts:
    return {"architectures": f"architectures = [{', '.join(values)}]"}


def datasets(*values: str) -> Parts:
    return {"datasets": f"datasets = [{', '.join(values)}]"}


def training(*lines: str) -> Parts:
    return {"training": "\n".join(["[training]", *lines])}


def evaluation(*lines: str) -> Parts:
    return {"evaluation": "\n".join(["[evaluation]", *lines])}


def include(*lines: str) -> Parts:
    return {"rules": "\n".join(["[[include]]", *lines])}


def exclude(*lines: str) -> Parts:
    return {"rules": "\n".join(["[[exclude]]", *lines])}


MATCH = "did you mean {!r}?".format
MISTAKES: dict[str, tuple[Parts, list[str]]] = {
    "key": ({"seeds": "seed = 1"}, ["'seed'", MATCH("seeds"), "architectures", "exclude"]),
    "training key": (
        training("steps = 5", "batchsize = 8"),
        ["'batchsize'", MATCH("batch_size"), "ema"],
    ),
    "evaluation key": (evaluation("shedule = [1]"), ["shedule", MATCH("evaluation.schedule")]),
    "sizes key": (evaluation("n = { point = 9 }"), [MATCH("evaluation.n.points"), "n.images"]),
    "recipe key": (
        training("steps = 5", "recipe = { lrr = 1 }"),
        [MATCH("recipe.lr"), "recipe.betas"],
    ),
    "dataset's training key": (
        datasets('{ name = "swissroll", training = { step = 5 } }'),
        ["'step'", MATCH("steps"), "batch_size"],
    ),
    "include key": (
        include('objective = "wgan"', 'architecture = "mlp"', 'dataset = "gaussians8"', "seed = 1"),
        ["seed'", MATCH("include.0.seeds"), "include.0.dataset"],
    ),
    "exclude key": (exclude('objectives = "wgan"'), ["'objectives'", MATCH("objective"), "seed"]),
    "objective": (objectives('"wgan_pg"'), ["'wgan_pg'", MATCH("wgan_gp"), "lsgan", "minimax"]),
    "architecture": (architectures('"dcgann"'), ["'dcgann'", MATCH("dcgan"), "mlp"]),
    "dataset": (datasets('"gaussian8"'), ["'gaussian8'", MATCH("gaussians8"), "swissroll"]),
    "metric": (evaluation('metrics = ["sdw"]'), ["'sdw'", MATCH("swd"), "fid", "modes_covered"]),
    "excluded name": (exclude('objective = "wgna"'), ["'wgna'", MATCH("wgan"), "nonsaturating"]),
    "excluded seed": (exclude("seed = 9"), ["'9'", "valid: 0"]),
    "included name": (
        include('objective = "wgna"', 'architecture = "mlp"', 'dataset = "gaussians8"'),
        ["'wgna'", MATCH("wgan"), "lsgan"],
    ),
    "no reference": (
        {"seeds": 'seeds = 1\nreference = ""'},
        ["reference", "at least 1 character", "not ''"],
    ),
    "a target of 0": (
        {"rules": "[targets]\ngaussians8 = 0"},
        ["targets.gaussians8", "greater than 0", "not 0"],
    ),
    "a target below 0": (
        {"rules": "[targets]\ngaussians8 = -1.5"},
        ["targets.gaussians8", "not -1.5"],
    ),
    "reference": (
        {"seeds": 'seeds = 1\nreference = "nonsaturatin"'},
        ["'nonsaturatin'", MATCH("nonsaturating")],
    ),
    "parameter": (
        objectives('{ name = "wgan_gp", penalty = 1 }'),
        ["'wgan_gp'", "'penalty'", MATCH("penalty_weight"), "sided", "critic_steps"],
    ),
    "dataset parameter": (datasets('{ name = "gaussians8", root = "x" }'), ["'root'", "training"]),
    "shape is no parameter": (architectures('{ name = "mlp", shape = 8 }'), ["'shape'", "width"]),
    "no name": (objectives("{ clip = 1 }"), ["{'clip': 1}", "name", "wgan_gp"]),
    "name of another type": (objectives("{ name = 5 }"), ["objective '5'", "wgan_gp"]),
    "axis of another type": (
        {"objectives": 'objectives = "wgan"'},
        ["objectives", "list", "'wgan'"],
    ),
    "axis value of another type": (objectives("5"), ["objectives.0", "string", "table", "not 5"]),
    "number as string": (objectives('{ name = "wgan", clip = "1" }'), ["clip", "number", "'1'"]),
    "number as boolean": (objectives('{ name = "wgan", clip = true }'), ["clip", "number", "True"]),
    "number as table": (objectives('{ name = "wgan", clip = { a = 1 } }'), ["clip", "{'a': 1}"]),
    "number as date": (objectives('{ name = "wgan", clip = 2020-01-01 }'), ["clip", "date(2020"]),
    "NaN": (objectives('{ name = "wgan", clip = nan }'), ["clip", "finite", "nan"]),
    "infinity": (objectives('{ name = "wgan_gp", target = inf }'), ["target", "finite", "inf"]),
    "fraction for an integer": (objectives('{ name = "wgan", critic_steps = 2.5 }'), ["2.5"]),
    "integer for a boolean": (
        objectives('{ name = "wgan", long_critic_phases = 1 }'),
        ["long_critic_phases", "boolean", "not 1"],
    ),
    "none of the words": (
        objectives('{ name = "wgan_gp", sided = "both" }'),
        ["sided", "'two', 'one' or 'linear'", "'both'"],
    ),
    "swept over nothing": (objectives('"lsgan", { name = "wgan", clip = [] }'), ["clip", "[]"]),
    "refused by the objective": (
        objectives('{ name = "wgan", critic_steps = 0 }'),
        ["wgan[critic_steps=0]", "at least 1"],
    ),
    "signed along the gradient": (
        objectives('{ name = "wgan_fdgp", sided = "signed", pairs = "gradient" }'),
        ["sided=signed", "segment", "endpoint", "pairs=gradient"],
    ),
    "width 0": (architectures('{ name = "mlp", width = 0 }'), ["mlp", "width", "1", "not 0"]),
    "negative width": (architectures('{ name = "mlp", width = -1 }'), ["width", "not -1"]),
    "width beyond any memory": (
        architectures('{ name = "mlp", width = 100000000000000 }'),
        ["mlp", "width must be at most 1,000,000", "not 100000000000000"],
    ),
    "a size that no machine counts": (
        architectures('{ name = "mlp", latent_dim = 9223372036854775808 }'),
        ["latent_dim", "at most 1,000,000"],
    ),
    "a width of the critic beyond any memory": (
        architectures('{ name = "mlp", critic = { name = "dcgan", width = 10000000 } }'),
        ["critic 'dcgan'", "width must be at most"],
    ),
    "depth without end": (
        architectures('{ name = "mlp", width = 2, depth = 1000000 }'),
        ["mlp[depth=1000000,width=2]", "too deep", "10,000"],
    ),
    "critic steps without end": (
        objectives('{ name = "hinge", critic_steps = 1000000 }'),
        ["hinge", "critic_steps must be at most 10,000", "1000000"],
    ),
    "a number beyond float32": (
        objectives('{ name = "wgan", clip = 1e39 }'),
        ["clip must be at most 3e+38", "1e+39"],
    ),
    "a text of many letters": (
        datasets(f'{{ name = "image_folder", collection = "{"x" * 501}" }}'),
        ["collection", "501 characters"],
    ),
    "two texts of one name": (
        datasets('{ name = "text", root = "a" }', '{ name = "text", root = "b" }')
        | architectures('{ name = "mlp", width = 8 }'),
        ["duplicate cell", "told apart by `collection`"],
    ),
    "an unknown alphabet": (
        datasets('{ name = "text", alphabet = "lowr" }'),
        ["alphabet", "'lower', 'letters' or 'all'", "'lowr' (did you mean 'lower'?)"],
    ),
    "a text of too few characters": (
        datasets('{ name = "python_topics", length = 3 }'),
        ["python_topics[length=3,python=", "length must be from 4 to 4,096, not 3"],
    ),
    "a label of two lines": (
        datasets('{ name = "image_folder", collection = "a\\nb" }'),
        ["collection=a%0Ab", "letters, digits"],
    ),
    "a lone sample and batch norm in the generator": (
        architectures('{ name = "mlp", width = 8, generator_norm = "batch" }')
        | training("steps = 5", "batch_size = 1"),
        ["mlp[generator_norm=batch,width=8]", "training.batch_size = 1", "at least 2"],
    ),
    "a lone sample and batch norm in the critic": (
        architectures('{ name = "mlp", width = 8, norm = "batch" }')
        | training("steps = 5", "batch_size = 1", "generator_batch_multiple = 4"),
        ["mlp[norm=batch,width=8]", "training.batch_size = 1", "at least 2"],
    ),
    "latents of the critic for two batches": (
        training("steps = 5", 'generator_latents = "critic"', "generator_batch_multiple = 2"),
        ["generator_latents = critic needs generator_batch_multiple = 1, not 2"],
    ),
    "a lone sample and points of two pairs": (
        objectives('{ name = "wgan_fdgp", pairs = "independent" }')
        | training("steps = 5", "batch_size = 1"),
        ["wgan_fdgp[pairs=independent]", "batch_size must be at least 2"],
    ),
    "negative depth": (architectures('{ name = "mlp", depth = -1 }'), ["depth", "not -1"]),
    "negative latents": (architectures('{ name = "mlp", latent_dim = -1 }'), ["latent_dim"]),
    "critic": (
        architectures('{ name = "mlp", critic = "dcgann" }'),
        ["critic", "'dcgann'", MATCH("dcgan")],
    ),
    "critic's parameter": (
        architectures('{ name = "mlp", critic = { name = "mlp", latent_dim = 2 } }'),
        ["critic 'mlp'", "'latent_dim'", "width"],
    ),
    "critic's norm beside it": (
        architectures('{ name = "mlp", norm = "layer", critic = "mlp" }'),
        ["'norm'", "critic"],
    ),
    "critic's training": (
        architectures('{ name = "mlp", critic = { name = "mlp", training = { steps = 5 } } }'),
        ["not per critic"],
    ),
    "critic of another type": (architectures('{ name = "mlp", critic = 5 }'), ["critic", "not 5"]),
    "no critic": (architectures('{ name = "mlp", critic = [] }'), ["critic", "not []"]),
    "critic that refuses the shape": (
        architectures('{ name = "mlp", critic = "dcgan" }'),
        ["mlp[critic=dcgan]", "gaussians8", "(2,)"],
    ),
    "an objective's learning rate": (
        objectives('{ name = "wgan", lr = -1.0 }'),
        ["objective 'wgan'", "lr", "greater than 0", "-1.0"],
    ),
    "an objective's optimiser": (
        objectives('{ name = "wgan", optimizer = "adamw" }'),
        ["optimizer", "'adam', 'optimistic_adam'", "'rmsprop_tf' or 'sgd'", "'adamw'"],
    ),
    "an optimiser that is a table": (
        objectives('{ name = "wgan", optimizer = { name = "adam" } }'),
        ["optimizer", "'rmsprop_tf'", "{'name': 'adam'}"],
    ),
    "an epsilon of 0": (
        objectives('{ name = "wgan", optimizer = "rmsprop_tf", eps = 0.0 }'),
        ["objective 'wgan'", "eps", "greater than 0", "0.0"],
    ),
    "betas of RMSProp": (
        objectives('{ name = "wgan", betas = [[0.5, 0.9]] }'),
        ["objective 'wgan'", "betas belongs to adam and optimistic_adam, not to rmsprop"],
    ),
    "alpha of Adam": (
        objectives('{ name = "lsgan", alpha = 0.5 }'),
        ["objective 'lsgan'", "alpha belongs to rmsprop and rmsprop_tf, not to adam"],
    ),
    "an epsilon of descent": (
        training("steps = 5", 'recipe = { optimizer = "sgd", eps = 1e-3 }'),
        ["recipe", "eps belongs to", "not to sgd"],
    ),
    "two optimisers": (
        objectives('{ name = "wgan", lr = 1e-3 }')
        | training("steps = 5", "recipe = { lr = 1e-3 }"),
        ["wgan[lr=0.001]", "training.recipe", "one of the two"],
    ),
    "training of an objective": (
        objectives('{ name = "wgan", training = { steps = 5 } }'),
        ["'wgan'", "training is set per dataset"],
    ),
    "training is no table": (
        datasets('{ name = "swissroll", training = 5 }'),
        ["training", "not 5"],
    ),
    "training is a list": (datasets('{ name = "swissroll", training = [5] }'), ["training", "[5]"]),
    "training is a word": ({"training": 'training = "paper"\n'}, ["training", "table", "'paper'"]),
    "two budgets": (
        training("steps = 5", "samples = 6"),
        ["steps, samples, seconds", "steps and samples"],
    ),
    "a dataset's two budgets": (
        datasets('{ name = "swissroll", training = { steps = 5, seconds = 6 } }'),
        ["steps and seconds"],
    ),
    "no budget": (training("batch_size = 5"), ["one budget", "steps, samples, seconds", "none"]),
    "no steps": (training("steps = 0"), ["steps", "greater than", "not 0"]),
    "negative steps": (training("steps = -5"), ["steps", "-5"]),
    "steps as string": (training('steps = "20"'), ["steps", "integer", "'20'"]),
    "steps as boolean": (training("steps = true"), ["steps", "integer", "True"]),
    "endless seconds": (training("seconds = inf"), ["seconds", "finite", "inf"]),
    "batch size as boolean": (training("steps = 5", "batch_size = true"), ["batch_size", "True"]),
    "moving average": (training("steps = 5", "ema = 1.0"), ["ema", "less than 1", "1.0"]),
    "precision": (
        training("steps = 5", 'precision = "fp16"'),
        ["float32", "tf32", "bf16", "'fp16'"],
    ),
    "noise that falls over seconds": (
        training("seconds = 5", "instance_noise = 0.1"),
        ["noise_decay", "seconds"],
    ),
    "decay of no noise": (training("steps = 5", 'noise_decay = "none"'), ["instance_noise"]),
    "warm-up of no average": (training("steps = 5", "ema_warmup = true"), ["ema_warmup", "ema"]),
    "critic steps twice": (
        objectives('{ name = "wgan", long_critic_phases = true }')
        | training("steps = 5", "critic_steps = 3"),
        ["wgan[long_critic_phases=true]", "long_critic_phases", "training.critic_steps"],
    ),
    "critic steps of another type": (
        training("steps = 5", 'critic_steps = "papers"'),
        ["critic_steps", "'paper'", "'papers'"],
    ),
    "an objective's noise and one for all": (
        objectives('{ name = "wgan", instance_noise = 0.1 }')
        | training("steps = 5", "instance_noise = 0.2"),
        ["wgan[instance_noise=0.1]", "training.instance_noise = 0.2", "one of the two"],
    ),
    "an objective's average out of range": (
        objectives('{ name = "wgan", ema = 1.5 }'),
        ["wgan[ema=1.5]", "ema", "less than 1", "1.5"],
    ),
    "an objective's warm-up of no average": (
        objectives('{ name = "wgan", ema_warmup = true }'),
        ["wgan[ema_warmup=true]", "ema_warmup needs an ema above 0"],
    ),
    "an objective's warm-up of another type": (
        objectives('{ name = "wgan", ema = 0.9, ema_warmup = 1 }'),
        ["'wgan'", "ema_warmup", "1"],
    ),
    "an objective's misspelt option": (
        objectives('{ name = "wgan", critic_pretraining = 10 }'),
        ["'critic_pretraining'", MATCH("critic_pretrain"), "instance_noise"],
    ),
    "growth of a network that does not grow": (
        training("steps = 5", "growth = [{ share = 0, size = 1 }, { share = 0.5, size = 2 }]"),
        ["x gaussians8", "mlp does not grow", "training.growth", "progressive"],
    ),
    "growth of one stage": (
        training("steps = 5", "growth = [{ share = 0, size = 8 }]"),
        ["growth: one stage does not grow"],
    ),
    "a rate that nothing reads": (
        objectives('{ name = "wgan", lr = 2e-4, d_lr = 1e-4, g_lr = 1e-5 }'),
        ["objective 'wgan'", "lr is not read where both d_lr and g_lr are given"],
    ),
    "a recipe's rate that nothing reads": (
        training("steps = 5", "recipe = { lr = 1e-3, d_lr = 1e-4, g_lr = 1e-5 }"),
        ["training: recipe", "lr is not read where both d_lr and g_lr are given"],
    ),
    "growth that begins late": (
        training("steps = 5", "growth = [{ share = 0.1, size = 8 }]"),
        ["growth: the shares must begin with 0 and rise", "[0.1]"],
    ),
    "a fade from nothing": (
        training("steps = 5", "growth = [{ share = 0, size = 8, fade = 0.1 }]"),
        ["growth: the first stage", "fade = 0.1"],
    ),
    "a fade beyond the next stage": (
        training(
            "steps = 5",
            "growth = [{ share = 0, size = 4 }, { share = 0.2, size = 8, fade = 0.5 }, "
            "{ share = 0.6, size = 16 }]",
        ),
        ["the fade of size 8 ends at 0.7", "0.6"],
    ),
    "a stage's key": (
        training("steps = 5", "growth = [{ share = 0, size = 4, fades = 0.2 }]"),
        ["fades", MATCH("growth.0.fade")],
    ),
    "a stage that is no table": (training("steps = 5", "growth = [8]"), ["growth", "table", "8"]),
    "stages that are no list": (training("steps = 5", "growth = 8"), ["growth", "list", "8"]),
    "a range of images that there is not": (
        datasets('{ name = "digits", range = "bytes" }'),
        ["'digits'", "range", "'signed'", "'unit'", "'bytes'"],
    ),
    "no critic steps": (training("steps = 5", "critic_steps = 0"), ["critic_steps", "0"]),
    "rate of one network": (
        objectives('{ name = "wgan", d_lr = 0.0 }'),
        ["objective 'wgan'", "d_lr", "greater than 0"],
    ),
    "weights that grow": (
        objectives('{ name = "wgan", weight_decay = -0.1 }'),
        ["objective 'wgan'", "weight_decay", "-0.1"],
    ),
    "decay over seconds": (training("seconds = 5", 'lr_decay = "linear"'), ["lr_decay", "seconds"]),
    "recipe": (training("steps = 5", 'recipe = "papr"'), ["recipe", "'paper'", "table", "'papr'"]),
    "optimiser": (
        training("steps = 5", 'recipe = { optimizer = "adamw" }'),
        ["recipe.optimizer", "'adam', 'optimistic_adam'", "'rmsprop_tf' or 'sgd'", "'adamw'"],
    ),
    "learning rate": (training("steps = 5", "recipe = { lr = -1 }"), ["recipe.lr", "-1"]),
    "betas": (
        training("steps = 5", "recipe = { betas = [0.5, 3] }"),
        ["recipe.betas", "less than 1"],
    ),
    "batch norm under a per-sample penalty": (
        objectives('"wgan_gp"') | architectures('{ name = "mlp", norm = "batch", width = 8 }'),
        ["wgan_gp", "mlp[norm=batch,width=8]", "batch norm", "'layer'", "'none'"],
    ),
    "dcgan on points": (architectures('"dcgan"'), ["dcgan", "gaussians8", "multiple of 4", "(2,)"]),
    "duplicate": (objectives('"wgan", "wgan"'), ["duplicate cell wgan-mlp"]),
    "told apart by training only": (
        architectures('"mlp", { name = "mlp", training = { steps = 5 } }'),
        ["nonsaturating x mlp x gaussians8", "twice", "training"],
    ),
    "a seed beyond 31 bits": ({"seeds": "seeds = [2147483648]"}, ["seeds.0", "2147483648"]),
    "too few real images": (evaluation("n_real = 3"), ["n_real", "at least 10", "3"]),
    "duplicate seed": ({"seeds": "seeds = [0, 0]"}, ["duplicate", "seed0"]),
    "duplicate by inclusion": (
        architectures('"mlp"')
        | include('objective = "nonsaturating"', 'architecture = "mlp"', 'dataset = "gaussians8"'),
        ["duplicate cell nonsaturating-mlp"],
    ),
    "empty": (objectives(), ["the matrix is empty"]),
    "crossed seeds without batches": (
        {"seeds": "seeds = { weights = 3 }"},
        ["seeds.batches", "required"],
    ),
    "crossed seeds of something else": (
        {"seeds": "seeds = { weights = 3, batches = 2, batch = 2 }"},
        ["'seeds.batch'", MATCH("seeds.batches"), "seeds.weights"],
    ),
    "a crossed seed of four digits": (
        {"seeds": "seeds = { weights = [1000], batches = 2 }"},
        ["seeds.weights.0", "less than 1000", "1000"],
    ),
    "no seed": ({"seeds": "seeds = []"}, ["the matrix is empty"]),
    "all excluded": (exclude('dataset = "gaussians8"'), ["the matrix is empty"]),
    "rule without a condition": (exclude(), ["exclude", "without a condition"]),
    "rule over a list": (exclude('objective = ["wgan"]'), ["exclude.0.objective", "['wgan']"]),
    "rules that are no list": ({"rules": '[exclude]\nobjective = "wgan"'}, ["exclude", "list"]),
    "incomplete inclusion": (include('objective = "wgan"'), ["include.0.architecture", "required"]),
    "inclusion of a number": (
        include("objective = 5", 'architecture = "mlp"', 'dataset = "gaussians8"'),
        ["include.0.objective", "not 5"],
    ),
    "inclusion of a list": (
        include('objective = ["wgan"]', 'architecture = "mlp"', 'dataset = "gaussians8"'),
        ["include.0.objective", "['wgan']"],
    ),
    "inclusion with seeds as string": (
        include(
            'objective = "wgan"', 'architecture = "mlp"', 'dataset = "gaussians8"', 'seeds = "01"'
        ),
        ["include.0.seeds", "'01'"],
    ),
    "bad TOML": ({"objectives": "objectives = ["}, ["tiny.toml", "line"]),
    "a key twice": ({"seeds": "seeds = 1\nseeds = 2"}, ["tiny.toml", "overwrite"]),
    "a missing axis": ({"datasets": ""}, ["tiny.toml", "datasets", "required"]),
    "schedule falls": (evaluation("schedule = [1, 0]"), ["rising", "[1.0, 0.0]"]),
    "schedule repeats": (evaluation("schedule = [0, 0, 1]"), ["rising", "[0.0, 0.0, 1.0]"]),
    "schedule is empty": (evaluation("schedule = []"), ["rising", "not []"]),
    "schedule beyond the end": (evaluation("schedule = [0, 2]"), ["schedule.1", "1", "not 2"]),
    "schedule of strings": (evaluation('schedule = ["0"]'), ["schedule.0", "number", "'0'"]),
    "schedule as number": (evaluation("schedule = 1"), ["schedule", "list", "not 1"]),
    "no samples": (evaluation("n = { points = 0 }"), ["n.points", "greater than", "not 0"]),
    "sizes as number": (evaluation("n = 200"), ["evaluation.n", "table", "not 200"]),
    "never logged": (evaluation("log_every = 0"), ["log_every", "not 0"]),
    "metrics of the other modality": (
        evaluation('metrics = ["fid", "kid"]'),
        ["['fid', 'kid']", "gaussians8", "points", "swd"],
    ),
    "no seeds": ({"seeds": "seeds = 0"}, ["seeds", "not 0"]),
    "negative number of seeds": ({"seeds": "seeds = -3"}, ["seeds", "-3"]),
    "negative seed": ({"seeds": "seeds = [0, -1]"}, ["seeds.1", "-1"]),
    "seeds as string": ({"seeds": 'seeds = "5"'}, ["seeds", "integer", "list", "'5'"]),
    "seed as string": ({"seeds": 'seeds = ["one"]'}, ["seeds.0", "integer", "'one'"]),
    "seeds as boolean": ({"seeds": "seeds = true"}, ["seeds", "True"]),
    "seeds as fraction": ({"seeds": "seeds = 2.5"}, ["seeds", "2.5"]),
}


def refused(ended: Ended, *named: str) -> None:
    """One line on stderr that names every one of these, exit code 2, nothing on stdout."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("ganbench: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1
    missing = [text for text in named if text not in ended.err]
    assert not missing, f"{missing} not in {ended.err}"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(
    mistake: str, ganbench: Callable[..., Ended], matrix_file: Callable[..., Path], tmp_path: Path
) -> None:
    parts, named = MISTAKES[mistake]
    refused(
        ganbench(
            "run", "--dry-run", "--matrix", matrix_file(**parts), "--results", tmp_path / "results"
        ),
        *named,
    )
    assert os.listdir(tmp_path) == ["tiny.toml"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--set", "training.steps=many"), ["steps", "'many'"]),
        (("--set", "training.step=5"), ["'step'", MATCH("steps")]),
        (("--set", "trainin.steps=5"), ["'trainin'", MATCH("training")]),
        (("--set", "training"), ["--set", "name=value", "'training'"]),
        (("--set", "training.steps="), ["--set", "name=value"]),
        (("--set", "=5"), ["--set", "name=value"]),
        (("--set", "seeds.x=1"), ["seeds.x=1", "not a table"]),
        (("--set", "objectives.9=wgan"), ["objectives.9=wgan", "position '9'", "valid: 0 to"]),
        (("--set", "training=5"), ["training", "table", "not 5"]),
        (("--set", "objectives=wgan"), ["objectives", "list", "'wgan'"]),
        (("--only", "objective"), ["--only", "name=value", "'objective'"]),
        (("--only", "objectives=wgan"), ["--only", "'objectives'", MATCH("objective")]),
        (
            ("--only", "objective=nonsaturatin"),
            ["--only", "'nonsaturatin'", MATCH("nonsaturating")],
        ),
        (("--only", "objective=lsgan"), ["--only", "'lsgan'", "valid: nonsaturating"]),
        (("--only", "seed=5"), ["--only", "'5'", "valid: 0"]),
        (("--precision", "fp8"), ["precision", "float32", "bf16", "'fp8'"]),
    ],
)
def test_a_mistaken_flag_is_one_line_that_names_it(
    arguments: tuple[str, ...],
    named: list[str],
    ganbench: Callable[..., Ended],
    matrix_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    common = ("run", "--dry-run", "--matrix", matrix_file(), "--results", tmp_path / "results")
    refused(ganbench(*common, *arguments), *named)
    assert os.listdir(tmp_path) == ["tiny.toml"]


def test_a_matrix_that_is_not_there_or_no_text_is_one_line(
    ganbench: Callable[..., Ended], tmp_path: Path
) -> None:
    refused(ganbench("run", "--dry-run", "--matrix", "quik"), "'quik'", MATCH("quick"), ".toml")
    refused(ganbench("run", "--dry-run", "--matrix", tmp_path / "none.toml"), "none.toml", "quick")
    refused(ganbench("run", "--dry-run", "--matrix", tmp_path), str(tmp_path), "quick")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    refused(ganbench("run", "--dry-run", "--matrix", tmp_path / "bytes.toml"), "bytes.toml", "0xff")
