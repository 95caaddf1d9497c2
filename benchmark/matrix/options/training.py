"""The options of training: the table [training] and its optimiser."""

from collections.abc import Container
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from benchmark.errors import UserError
from benchmark.matrix.mistakes import TAGS
from benchmark.matrix.options.strict import Positive, Share, Steps, Strict, by_type

ROUNDING = 1e-9  # of sums of shares
BUDGETS = ("steps", "samples", "seconds")
# What only some optimisers read
READERS = {
    "betas": ("adam", "optimistic_adam"),
    "alpha": ("rmsprop", "rmsprop_tf"),
    "eps": ("adam", "optimistic_adam", "rmsprop", "rmsprop_tf"),
}


UNREAD_RATE = "lr is not read where both d_lr and g_lr are given: leave it out"


def _recipe_tag(recipe: object) -> str | None:
    if recipe == "paper":
        return TAGS[str]
    return TAGS[dict] if isinstance(recipe, dict | Optimiser) else None


class Optimiser(Strict):
    """One optimiser for both networks of every cell."""

    optimizer: Literal["adam", "optimistic_adam", "rmsprop", "rmsprop_tf", "sgd"] = "adam"
    """rmsprop is PyTorch's update, rmsprop_tf is TensorFlow's; sgd has no momentum."""

    lr: Annotated[float, Field(gt=0, le=1e6)] = 2e-4
    """Learning rate."""

    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.5, 0.999)
    """Of Adam."""

    alpha: Share = 0.99
    """Of RMSProp: the decay of the mean square; 0.9 of rmsprop_tf."""

    eps: Annotated[float, Field(gt=0, le=1)] | None = None
    """None: 1e-8; 1e-10 of rmsprop_tf, which adds it under the root."""

    d_lr: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Learning rate of the critic; None: lr."""

    g_lr: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Learning rate of the generator; None: lr."""

    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Added to the gradient of a parameter, times the parameter."""

    @model_validator(mode="before")
    @classmethod
    def with_own_alpha(cls, options: Any) -> Any:
        if isinstance(options, dict) and options.get("optimizer") == "rmsprop_tf":
            return {"alpha": 0.9, **options}
        return options

    @model_validator(mode="after")
    def has_nothing_unread(self) -> "Optimiser":
        for key, readers in READERS.items():
            is_default = getattr(self, key) == type(self).model_fields[key].default
            if self.optimizer not in readers and not is_default:
                raise ValueError(
                    f"{key} belongs to {' and '.join(readers)}, not to {self.optimizer}"
                )
        is_default = self.lr == type(self).model_fields["lr"].default
        if self.d_lr and self.g_lr and not is_default:
            raise ValueError(UNREAD_RATE)
        return self

    @staticmethod
    def check_given(given: Container[str], where: str) -> None:
        """Raises UserError for a rate that nothing reads, also where it is the default."""
        if all(key in given for key in ("lr", "d_lr", "g_lr")):
            raise UserError(f"{where}: {UNREAD_RATE}")

    @model_serializer(mode="wrap")
    def without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A key is made of this: what earlier keys did not have is left out at its default."""
        return self.without_defaults(serialise(self), ("eps", "d_lr", "g_lr", "weight_decay"))


def as_read(options: dict[str, Any], given: Container[str]) -> dict[str, Any]:
    """The options of an optimiser without those that it does not read and nobody gave, such as the
    betas of a paper whose optimiser a matrix replaces, or its rate where both networks have one."""
    found = {}
    for key, value in options.items():
        if key == "lr" and options["d_lr"] and options["g_lr"] and key not in given:
            continue
        if key in given or options["optimizer"] in READERS.get(key, [options["optimizer"]]):
            found[key] = value
    return found


Recipe = Annotated[
    Annotated[Literal["paper"], Tag(TAGS[str])] | Annotated[Optimiser, Tag(TAGS[dict])],
    Discriminator(
        _recipe_tag,
        custom_error_type="type",
        custom_error_message="Input should be 'paper' or a valid table",
    ),
]


CriticSteps = Annotated[
    Annotated[Literal["paper"], Tag(TAGS[str])]
    | Annotated[int, Field(gt=0, le=10_000), Tag(TAGS[int])],
    by_type("'paper' or a valid integer"),
]

# Options that earlier keys did not have
LATER = (
    "generator_latents",
    "ema_warmup",
    "critic_steps",
    "critic_pretrain",
    "instance_noise",
    "noise_decay",
    "growth",
    "recompute",
)

# Options that an objective may set for its own cells: they stand in its label
OF_OBJECTIVE = ("critic_pretrain", "ema", "ema_warmup", "instance_noise", "noise_decay")


class Stage(Strict):
    """A stage of growing networks."""

    share: Share
    """Share of the budget at which the stage begins."""

    size: Positive
    """Side of the images in pixels."""

    fade: Share = 0.0
    """Share of the budget over which the size fades in."""


class Training(Strict):
    """How every cell is trained. Exactly one of steps, samples and seconds is the budget."""

    batch_size: Steps = 64
    """Samples of a batch."""

    steps: Steps | None = None
    """Generator steps."""

    samples: Steps | None = None
    """Real samples passed through the critic."""

    seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Seconds of training."""

    recipe: Recipe = "paper"
    """Each objective's own optimiser, or one optimiser for all objectives."""

    lr_decay: Literal["none", "linear"] = "none"
    """linear: the learning rate falls to 0 at the end of the budget."""

    generator_batch_multiple: Positive = 1
    """Batch size of a generator step, in batches."""

    generator_latents: Literal["fresh", "critic"] = "fresh"
    """Of a generator step: latents of its own, or those of the last critic step, whose fakes eager
    steps then make once. Under critic, objectives of unequal critic_steps are not paired."""

    ema: Share = 0.0
    """Decay per step of the generator's moving average; 0: no average."""

    ema_warmup: bool = False
    """After t steps the decay is at most (1 + t)/(10 + t)."""

    critic_steps: CriticSteps = "paper"
    """Critic steps per generator step: each objective's own, or one number for all."""

    critic_pretrain: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Critic steps before the first generator step, on top of its own."""

    instance_noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Standard deviation of Gaussian noise on all samples that the critic sees in training."""

    noise_decay: Literal["linear", "none"] = "linear"
    """linear: the noise falls to 0 at the end of the budget."""

    growth: Annotated[tuple[Stage, ...], Field(strict=False)] = ()
    """Stages of networks that grow (progressive); none: they have the image's size."""

    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Of matrix products and convolutions; bf16 by autocast."""

    layout: Literal["contiguous", "channels_last"] = "contiguous"
    """Memory format of images and convolution weights."""

    recompute: bool = False
    """Blocks keep no activations; the backward pass computes them again."""

    @model_validator(mode="after")
    def is_consistent(self) -> "Training":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"set exactly one budget of {', '.join(BUDGETS)}, not {found}")
        if self.ema_warmup and not self.ema:
            raise ValueError("ema_warmup needs an ema above 0")
        if self.noise_decay == "none" and not self.instance_noise:
            raise ValueError("noise_decay needs an instance_noise above 0")
        self._check_growth()
        multiple = self.generator_batch_multiple
        if self.generator_latents == "critic" and multiple != 1:
            raise ValueError(
                f"generator_latents = critic needs generator_batch_multiple = 1, not {multiple}"
            )
        return self

    def _check_growth(self) -> None:
        """The first stage begins with the training, and a fade ends before the next stage."""
        shares = [stage.share for stage in self.growth]
        if shares and (shares[0] or sorted({*shares}) != shares):
            raise ValueError(f"growth: the shares must begin with 0 and rise, not {shares}")
        if self.growth and self.growth[0].fade:
            fade = self.growth[0].fade
            raise ValueError(f"growth: the first stage has nothing to fade from, not fade = {fade}")
        if len(self.growth) == 1:
            raise ValueError("growth: one stage does not grow: give two or more, or none")
        for stage, end in zip(self.growth, [*shares[1:], 1.0], strict=False):
            if stage.share + stage.fade > end + ROUNDING:
                raise ValueError(
                    f"growth: the fade of size {stage.size} ends at {stage.share + stage.fade:g}, "
                    f"after {end:g}, where the next stage begins or the budget ends"
                )

    def without(self, names: Container[str]) -> "Training":
        """These options, those of `names` that an objective may set at their defaults."""
        fields = type(self).model_fields
        return self.replaced(**{key: fields[key].default for key in OF_OBJECTIVE if key in names})

    @model_serializer(mode="wrap")
    def without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A key is made of this: what earlier keys did not have is left out at its default."""
        return self.without_defaults(serialise(self), LATER)
