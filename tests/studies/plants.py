"""Mistakes that are planted in a copy of the code, each as a few words of one file that are
replaced; and settings under which nothing is changed."""

from dataclasses import dataclass, field
from pathlib import Path

TRAIN = "benchmark/train"
MEASURE = "benchmark/measure"
OBJECTIVES = "variants/objectives"
BASE = f"{OBJECTIVES}/__init__.py"
WGAN_GP = f"{OBJECTIVES}/wgan_gp.py"
ADAM = "dataset=digits objective=nonsaturating|lsgan"
RMSPROP = "dataset=gaussians8 objective=minimax|nonsaturating|lsgan"
GP = "objective=wgan_gp"
GP_DIGITS = "objective=wgan_gp dataset=digits"

D_STEPS = "d_steps = num_d_steps(objective, options, g_step)"
RECIPE = "return Workbench(dataset, make_objective(cell.objective), make_recipe(cell))"
WEIGHT = "penalty_weight: float = 10.0"
ALPHA = "(torch.rand(len(real), device=real.device, dtype=real.dtype, generator=generator),)"
SLOPES = "return norms(gradient)"
NORM = "return tensor.flatten(1).norm(dim=1)"
CLIPPED = "parameters: list[Tensor] = list(D.parameters())"
INDEX = "return torch.randint(n, (batch_size,), device=generator.device, generator=generator)"
LATENTS = "return torch.randn(n, latent_dim, device=device, generator=self.generator)"
GATHER = "batch = self.to_floats(self.data.index_select(0, torch.cat(indices)))"
REFERENCE = "self.reference = self._reference(train[:n_real], held[: self.n])"


@dataclass(frozen=True)
class Plant:
    """A mistake: words of one file that are replaced."""

    kind: str
    what: str
    only: str
    """The filter of the cells that it concerns."""
    file: str
    edits: dict[str, str]
    """Words of the file -> what stands there instead."""

    def planted(self, root: Path) -> str:
        """The file in a checkout, with the plant. Raises ValueError where some of the words are not
        there, or more than once."""
        source = (root / self.file).read_text(encoding="utf-8")
        for old, new in self.edits.items():
            if source.count(old) != 1:
                raise ValueError(f"{self.file} no longer says {old!r}, once")
            source = source.replace(old, new)
        return source


def objective(name: str) -> str:
    return f"{OBJECTIVES}/{name}.py"


def with_recipe(change: str) -> dict[str, str]:
    """The edit of build.py that changes every recipe."""
    return {RECIPE: RECIPE.replace("make_recipe(cell)", f"replace(make_recipe(cell), {change})")}


def d_steps(count: str) -> dict[str, str]:
    return {D_STEPS: f"d_steps = {count}"}


def of_objective(kind: str, what: str, name: str, edits: dict[str, str], only: str = "") -> Plant:
    """A mistake in the file of an objective."""
    return Plant(kind, what, only or f"objective={name}", objective(name), edits)


G_LOSS = "return softplus(-D(fake)).mean()"
SATURATING = "return -softplus(D(fake)).mean()"
LOSSES = {
    "ns_sign": of_objective(
        "loss",
        "generator's sign in the non-saturating loss",
        "nonsaturating",
        {G_LOSS: "return softplus(D(fake)).mean()"},
    ),
    "minimax_is_ns": of_objective(
        "loss", "non-saturating loss as minimax", "minimax", {SATURATING: G_LOSS}
    ),
    "lsgan_target": of_objective(
        "loss", "LSGAN's c 1 → 0", "lsgan", {"c: float = 1.0": "c: float = 0.0"}
    ),
    "lsgan_half": of_objective(
        "loss",
        "LSGAN's generator loss without its ½",
        "lsgan",
        {"0.5 * (D(fake) - self.c)": "(D(fake) - self.c)"},
    ),
    "lsgan_label": of_objective(
        "label", "LSGAN's label of reals 1 → 0.9", "lsgan", {"b: float = 1.0": "b: float = 0.9"}
    ),
    "wgan_sign": of_objective(
        "loss",
        "critic's sign in WGAN",
        "wgan",
        {
            "yield D(fake).mean()": "yield -D(fake).mean()",
            "yield -D(real).mean()": "yield D(real).mean()",
        },
    ),
}
PENALTIES = {
    "shared_alpha": Plant(
        "penalty points",
        "one α for the whole batch",
        GP,
        WGAN_GP,
        {ALPHA: ALPHA.replace("len(real)", "1").replace("),)", ").expand(len(real)),)")},
    ),
    "points_of_reals": Plant(
        "penalty points",
        "x̂ = x",
        GP,
        WGAN_GP,
        {"interpolate(real, fake, alpha)) - self.target": "real) - self.target"},
    ),
    "no_root": Plant(
        "norm",
        "penalty without the square root",
        GP,
        WGAN_GP,
        {SLOPES: "return gradient.flatten(1).square().sum(dim=1)"},
    ),
    "norm_of_batch": Plant(
        "norm",
        "one norm over the whole batch",
        GP,
        WGAN_GP,
        {SLOPES: "return gradient.norm().expand(len(gradient))"},
    ),
    "norm_of_rows": Plant(
        "norm",
        "norm over one axis, mean over the others",
        GP_DIGITS,
        BASE,
        {NORM: "return tensor.norm(dim=-1).flatten(1).mean(dim=1)"},
    ),
    "target_0": Plant(
        "penalty", "K 1 → 0", GP, WGAN_GP, {"target: float = 1.0": "target: float = 0.0"}
    ),
    "penalty_1": Plant("penalty", "λ 10 → 1", GP, WGAN_GP, {WEIGHT: WEIGHT.replace("10", "1")}),
    "penalty_0.1": Plant(
        "penalty", "λ 10 → 0.1", GP, WGAN_GP, {WEIGHT: WEIGHT.replace("10.0", "0.1")}
    ),
    "detached_penalty": Plant(
        "detach",
        "the penalty is detached from the critic's parameters",
        GP,
        WGAN_GP,
        {'create_graph=self.method == "double_backward"': "create_graph=False"},
    ),
    "kept_gradients": Plant(
        "detach",
        "gradients are not reset between steps",
        ADAM,
        f"{TRAIN}/step.py",
        {
            f"    optimizer.zero_grad(set_to_none=True)\n    {following}": f"    {following}"
            for following in ("loss = _add_gradients(", "loss.backward(")
        },
    ),
    "epsilon": of_objective(
        "penalty",
        "ε of the finite difference 0.1 → 0.01",
        "wgan_fdgp",
        {"epsilon: float = 0.1\n": "epsilon: float = 0.01\n"},
        "objective=wgan_fdgp[]",
    ),
    "clip_0.02": of_objective(
        "clipping", "c 0.01 → 0.02", "wgan", {"clip: float = 0.01": "clip: float = 0.02"}
    ),
    "no_clipping": of_objective(
        "clipping",
        "clips copies of the weights",
        "wgan",
        {CLIPPED: "parameters = [p.clone() for p in D.parameters()]"},
    ),
}
STEPS = {
    "one_critic_step": Plant(
        "critic steps", "5 → 1", "objective=wgan|wgan_gp", f"{TRAIN}/inputs.py", d_steps("1")
    ),
    "four_critic_steps": Plant(
        "critic steps", "5 → 4", "objective=wgan|wgan_gp", f"{TRAIN}/inputs.py", d_steps("4")
    ),
    "six_critic_steps": Plant(
        "critic steps", "5 → 6", "objective=wgan", f"{TRAIN}/inputs.py", d_steps("6")
    ),
    "lr_half": Plant(
        "optimiser",
        "learning rate × 0.5",
        "objective=minimax|nonsaturating|lsgan|wgan",
        f"{TRAIN}/build.py",
        with_recipe("lr=0.5 * make_recipe(cell).lr"),
    ),
    "lr_0.8": Plant(
        "optimiser",
        "learning rate × 0.8",
        "objective=minimax|nonsaturating|lsgan|wgan",
        f"{TRAIN}/build.py",
        with_recipe("lr=0.8 * make_recipe(cell).lr"),
    ),
    "beta1": Plant(
        "optimiser",
        "β₁ 0.5 → 0.9",
        ADAM,
        f"{TRAIN}/build.py",
        with_recipe("betas=(0.9, 0.999)"),
    ),
    "beta2": Plant(
        "optimiser",
        "β₂ 0.999 → 0.9",
        ADAM,
        f"{TRAIN}/build.py",
        with_recipe("betas=(0.5, 0.9)"),
    ),
    "alpha": Plant(
        "optimiser",
        "RMSProp's α 0.99 → 0.9",
        RMSPROP,
        f"{TRAIN}/build.py",
        with_recipe("alpha=0.9"),
    ),
    "no_decay": Plant(
        "optimiser",
        "the learning rate does not decay",
        RMSPROP,
        f"{TRAIN}/loop.py",
        {"lr * (1 - progress.share)": "lr"},
    ),
    "average": Plant(
        "average",
        "a moving average of the generator (0.999) is sampled although none is asked for",
        ADAM,
        f"{TRAIN}/cell_training.py",
        {
            "if self.options.ema:": "if True:",
            "move_average(self.average, self.G, decay)": (
                "move_average(self.average, self.G, 0.999)"
            ),
        },
    ),
}
DATA = {
    "scale": Plant(
        "input scaling",
        "images in [0, 1]",
        ADAM,
        f"{TRAIN}/data.py",
        {".div_(127.5).sub_(1)": ".div_(255)"},
    ),
    "part_of_data": Plant(
        "data order",
        "batches of the first tenth of the data alone",
        ADAM,
        f"{TRAIN}/data.py",
        {INDEX: INDEX.replace("randint(n,", "randint(n // 10,")},
    ),
    "mirrored": Plant(
        "augmentation",
        "real images are mirrored",
        ADAM,
        f"{TRAIN}/data.py",
        {GATHER: f"{GATHER}.flip(-1)"},
    ),
    "held_out_trained": Plant(
        "data split",
        "training on the held-out split",
        ADAM,
        f"{TRAIN}/data.py",
        {"    samples = dataset.train()\n": "    samples = dataset.holdout()\n"},
    ),
    "uniform_latents": Plant(
        "latents",
        "latents of training are uniform",
        "objective=nonsaturating|lsgan",
        f"{TRAIN}/inputs.py",
        {LATENTS: LATENTS.replace("return torch.randn", "return 2 * torch.rand") + " - 1"},
    ),
    "frozen_norm": Plant(
        "norm of the generator",
        "batch norm left in evaluation mode after sampling",
        "dataset=digits objective=minimax|nonsaturating|lsgan|wgan",
        f"{TRAIN}/snapshot.py",
        {"            self.G.train()\n": "            self.G.eval()\n"},
    ),
    "sampled_by_averages": Plant(
        "norm of the generator",
        "samples with batch norm's moving averages",
        ADAM,
        f"{TRAIN}/snapshot.py",
        {'self.G.train(self.cell.evaluation.sampling_statistics == "batch")': "self.G.eval()"},
    ),
    "truncated": Plant(
        "evaluation",
        "images are truncated, not rounded",
        ADAM,
        f"{TRAIN}/snapshot.py",
        {"levels.round().clamp": "levels.clamp"},
    ),
    "compared_with_training": Plant(
        "evaluation",
        "training images stand for the held-out ones",
        ADAM,
        f"{MEASURE}/images.py",
        {REFERENCE: REFERENCE.replace("held[", "train[")},
    ),
    "compared_with_held_out": Plant(
        "evaluation",
        "generated images are compared with held-out ones",
        ADAM,
        f"{MEASURE}/images.py",
        {REFERENCE: REFERENCE.replace("train[:n_real]", "held")},
    ),
    "other_classifier": Plant(
        "evaluation",
        "another classifier",
        ADAM,
        f"{MEASURE}/features/classifier.py",
        {
            "if (SHIPPED / name).exists():": "if False:",
            "torch.manual_seed(0)": "torch.manual_seed(1)",
        },
    ),
}
PLANTS = LOSSES | PENALTIES | STEPS | DATA


@dataclass(frozen=True)
class Setting:
    """A way to run unchanged code."""

    what: str
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    busy: int = 0
    """Processes that keep a core busy meanwhile."""


SLOW_SETS = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
UNCHANGED = {
    "again": Setting("the same once more"),
    "load": Setting("with two busy processes", busy=2),
    "two_threads": Setting("2 threads", options=("--threads", "2", "--jobs", "1")),
    "compiled": Setting(
        "compiled, in stacks of 5", options=("--execution", "compiled", "--stack", "5")
    ),
    "onednn_avx2": Setting("ONEDNN_MAX_CPU_ISA=AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "aten_avx2": Setting("ATEN_CPU_CAPABILITY=avx2", {"ATEN_CPU_CAPABILITY": "avx2"}),
    "avx2": Setting("oneDNN, ATen and MKL limited to AVX2", AVX2),
    "slow_sets": Setting("ONEDNN_MAX_CPU_ISA=SSE41, ATEN_CPU_CAPABILITY=default", SLOW_SETS),
}
