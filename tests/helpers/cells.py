"""Small cells for tests."""

from benchmark.matrix.cell import Cell, Choice
from benchmark.matrix.options import Evaluation, Training
from benchmark.matrix.pairs import critic_norm

EVALUATION = Evaluation.model_validate(
    {
        "schedule": [0.0, 1.0],
        "n": {"points": 200, "images": 100, "text": 100},
        "n_real": 0,
        "metrics": [],
        "extractor": "classifier",
        "extractor_weights": None,
        "kid_subsets": 5,
        "kid_subset_size": 50,
        "sampling_statistics": "batch",
        "log_every": 1,
    }
)
TRAINING = Training.model_validate(
    {
        "batch_size": 16,
        "steps": 20,
        "samples": None,
        "seconds": None,
        "recipe": "paper",
        "lr_decay": "none",
        "generator_batch_multiple": 1,
        "ema": 0.0,
        "precision": "float32",
        "layout": "contiguous",
    }
)
PLACES = {
    "points": (Choice("mlp", {"width": 32}), Choice("gaussians8")),
    "images": (Choice("dcgan", {"width": 8}), Choice("digits")),
    "text": (Choice("text_resnet", {"width": 8, "blocks": 1}), Choice("python_topics")),
}
# What the parameters of an objective's own make of it, other than its default
FORMS = [
    *(("fgan", {"divergence": name}) for name in ("reverse_kl", "pearson", "hellinger", "js")),
    *(("relativistic_average", {"base": base}) for base in ("least_squares", "hinge")),
    ("r1", {"penalised": "fake"}),
    ("r1", {"penalised": "both"}),
    ("rpgan_r1r2", {"penalised": "real"}),
    ("wgan_gp", {"sided": "one"}),
    ("wgan_gp", {"sided": "linear"}),
]


def small_cell(
    objective="nonsaturating", place="points", seed=0, evaluation=None, params=None, **training
):
    architecture, dataset = PLACES[place]
    choice = Choice(objective, params or {})
    norm = critic_norm(choice, architecture, dataset)
    return Cell(
        choice,
        architecture,
        dataset,
        seed,
        TRAINING.replaced(**training),
        EVALUATION.replaced(**(evaluation or {})),
        norm,
    )
