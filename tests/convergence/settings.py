# SPDX-License-Identifier: Apache-2.0
"""What is run to see whether compressed optimizers learn as their dense parents do: the runs' settings, the optimizers'
variants, and which of them are combined. All that one may want to change is here."""

from dataclasses import dataclass, replace

RANKS = 4
SEEDS = 3
PAIRED_SEEDS = 5  # of Adam and 1-bit Adam, whose runs of the same seed are compared
WARM_UP = 50  # steps in which the learning rate rises
FACTOR = 3  # for the stress cells: times the learning rate ...
EARLY = 5  # ... and % of the steps before the freeze
PAPER_FREEZE = 20  # % of the steps, in the papers' forms
# Lines of a manifest: runs with and without them are the same.
CHANGE_NO_BIT = ("overlap =", "ahead_bytes =", 'error_dtype = "fp32"', 'reciprocal_dtype = "fp32"')


@dataclass(frozen=True)
class Workload:
    name: str
    about: str
    samples: int  # of an epoch
    epochs: int
    samples_a_step: int  # on all ranks together, however many they are: so steps and cost stay the same
    learning_rate: tuple  # (family, rate): of a dense parent and all that are compared with it
    settings: tuple  # (key, value) for --set
    quality: str  # the figure that counts: a key of `final` in a result
    more_is_better: bool
    chance: float  # a run that ends no better than this has learnt nothing
    band: str = ""  # of targets, of which the loss is told by itself: a key of `final_test_loss_by_target` in a summary
    other_ranks: tuple = ()  # numbers of ranks with which the compressed optimizers are run besides

    @property
    def steps(self):
        return self.epochs * (self.samples // self.samples_a_step)


CNN = Workload(
    "cnn",
    "a convolutional network on Fashion-MNIST",
    samples=60000,
    epochs=3,
    samples_a_step=128,
    learning_rate=(("adam", 4e-3), ("lamb", 1e-2)),
    settings=(
        ("train.model", "cnn"),
        ("train.data", "fashion_mnist"),
        ("train.schedule", "linear"),
        ("train.evaluate_every", 100),
    ),
    quality="test_accuracy",
    more_is_better=True,
    chance=0.2,  # of ten classes
    other_ranks=(2, 8),
)
GPT = Workload(
    "gpt",
    "a transformer on the characters of fortunes",
    samples=600 * 16,
    epochs=1,
    samples_a_step=16,
    learning_rate=(("adam", 2e-3), ("lamb", 1e-2)),
    settings=(
        ("train.model", "gpt"),
        ("train.data", "fortunes"),
        ("train.schedule", "cosine"),
        ("train.evaluate_every", 100),
    ),
    quality="test_loss",
    more_is_better=False,
    chance=3.3,  # nats a character: what is known from how often each comes alone
)
WORD = Workload(
    "word",
    "a recurrent network on the words of fortunes, most of which are rare",
    samples=9600,
    epochs=2,
    samples_a_step=16,
    learning_rate=(("adam", 1.6e-2), ("lamb", 1e-2)),  # Adam ends best so, of 2e-3, 4e-3, ... 2.4e-2, 4e-2 that were tried
    settings=(
        ("train.model", "lstm"),
        ("train.data", "fortunes"),
        ("train.schedule", "cosine"),
        ("train.evaluate_every", 250),
    ),
    quality="test_loss",
    more_is_better=False,
    chance=7.0,
    band="2-5",
    other_ranks=(2, 8),
)
RESNET = Workload(
    "resnet",
    "a residual network with batch normalisation, weight decay and label smoothing on Fashion-MNIST",
    samples=60000,
    epochs=2,
    samples_a_step=128,
    learning_rate=(("adam", 6e-3), ("lamb", 1e-2)),  # Adam's loss is lower than with 4e-3
    settings=(
        ("train.model", "resnet"),
        ("train.data", "fashion_mnist"),
        ("train.schedule", "linear"),
        ("train.label_smoothing", 0.1),
        ("optimizer.weight_decay", 0.05),
        ("train.evaluate_every", 100),
    ),
    quality="test_accuracy",
    more_is_better=True,
    chance=0.2,
)
LATE = Workload(
    "late",
    "a transformer on the characters of fortunes, of which capital letters first occur in the second half",
    samples=300 * 16,
    epochs=2,
    samples_a_step=16,
    learning_rate=(("adam", 2e-3), ("lamb", 1e-2)),
    settings=(
        ("train.model", "gpt"),
        ("train.data", "fortunes_late"),
        ("train.schedule", "cosine"),
        ("train.evaluate_every", 100),
    ),
    quality="test_loss",
    more_is_better=False,
    chance=3.3,
    band="late",
)
WORKLOADS = {workload.name: workload for workload in (CNN, GPT, WORD, RESNET, LATE)}
# To see that all of it works: the small network, a fifth of its samples.
QUICK = replace(CNN, samples=12800, settings=(*CNN.settings[:-1], ("train.evaluate_every", 50)))


@dataclass(frozen=True)
class Share:
    """A number of steps, given as % of the run's."""

    percent: float

    def of(self, steps):
        return max(1, round(steps * self.percent / 100))


@dataclass(frozen=True)
class Variant:
    name: str
    optimizer: str  # its manifest is configs/<optimizer>.toml
    parent: str = ""  # the dense optimizer that it has to match; a dense one has none
    form: str = ""  # what differs from the optimizer's other variants: "paper", "early", "bf16"; "" for the main one
    settings: tuple = ()
    seeds: int = SEEDS

    @property
    def family(self):
        return self.parent or self.optimizer

    def freezing_at(self, percent):
        """The same with the freeze fixed at so many % of the steps."""
        key = "optimizer.var_freeze_step" if self.optimizer == "zeroone_adam" else "optimizer.freeze_step"
        others = tuple((name, value) for name, value in self.settings if name != key)
        name = f"{self.optimizer}, freeze at {percent} %"
        return Variant(name, self.optimizer, self.parent, "early", (*others, (key, Share(percent))))


# What a paper prints: no bound on a step, no bias correction, one scale for as much as its authors' code has one for. With
# this message the variance stays frozen.
PAPER = (
    ("optimizer.message", "momentum"),
    ("optimizer.variance_floor", 0.0),
    ("optimizer.bias_correction", "false"),
)
LOCAL_STEPS = (
    ("optimizer.var_freeze_step", Share(20)),
    ("optimizer.var_update_scaler", 16),
    ("optimizer.local_step_scaler", Share(25)),
    ("optimizer.local_step_clipper", 4),
)
AUTOMATIC = (("optimizer.freeze_step", "auto"),)

ADAM = Variant("adam", "adam", seeds=PAIRED_SEEDS)
ONEBIT_ADAM = Variant("onebit_adam", "onebit_adam", "adam", "", AUTOMATIC, PAIRED_SEEDS)
ONEBIT_ADAM_PAPER = Variant(
    "onebit_adam, the paper's form",
    "onebit_adam",
    "adam",
    "paper",
    (("optimizer.freeze_step", Share(PAPER_FREEZE)), *PAPER, ("compressor.scale", "tensor")),
)
ZEROONE_ADAM = Variant(
    "zeroone_adam",
    "zeroone_adam",
    "adam",
    "",
    (*LOCAL_STEPS, ("optimizer.variance_stage", "momentum")),
)
ZEROONE_ADAM_PAPER = Variant(
    "zeroone_adam, the paper's form",
    "zeroone_adam",
    "adam",
    "paper",
    (
        *LOCAL_STEPS,
        *PAPER,
        ("optimizer.beta2_per", "update"),
        ("optimizer.variance_stage", "gradient"),
        ("compressor.scale", "tensor"),
    ),
)
LAMB = Variant("lamb", "lamb")
ONEBIT_LAMB = Variant("onebit_lamb", "onebit_lamb", "lamb", "", AUTOMATIC)
ONEBIT_LAMB_PAPER = Variant(
    "onebit_lamb, the paper's form",
    "onebit_lamb",
    "lamb",
    "paper",
    (("optimizer.freeze_step", Share(PAPER_FREEZE)), *PAPER, ("optimizer.trust_ratio", "frozen"), ("compressor.scale", "bucket")),
)
HALVES = (("exchange.error_dtype", "bf16"), ("optimizer.reciprocal_dtype", "bf16"))


def in_halves(variant):
    """The same with half the state."""
    name = f"{variant.optimizer}, errors and reciprocal in bf16"
    return replace(variant, name=name, form="bf16", settings=(*variant.settings, *HALVES), seeds=SEEDS)


# One of each: of --quick, with other numbers of ranks, and where it is harder.
MAIN = (ADAM, ONEBIT_ADAM, ZEROONE_ADAM, LAMB, ONEBIT_LAMB)
IN_HALVES = tuple(in_halves(variant) for variant in MAIN if variant.parent)
VARIANTS = (*MAIN, *IN_HALVES, ONEBIT_ADAM_PAPER, ZEROONE_ADAM_PAPER, ONEBIT_LAMB_PAPER)
STRESSED = (ONEBIT_ADAM, ONEBIT_LAMB)
