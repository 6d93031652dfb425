# SPDX-License-Identifier: Apache-2.0
"""What follows from a cell's figures: seconds and bytes of one step, and what they are compared with."""

from dataclasses import dataclass

RATES = {"10mbit": 1e7, "100mbit": 1e8, "1gbit": 1e9, "unlimited": None}  # bits a second
WARM_UP = 0.2  # the share of the steps that is dense where a whole run is meant


@dataclass(frozen=True)
class Step:
    """The mean step of one stage, of rank 0."""

    steps: int
    seconds: float
    compute: float  # forward and backward
    codec: float  # measuring, encoding, averaging, decoding, and the optimizer, which works tile by tile in between
    waiting: float  # for the network and the other ranks
    bytes_sent: float  # as the communicator counts
    floor: float  # seconds that these bytes take at the rate and no faster; 0 where there is no limit

    @property
    def rounds(self):
        """All that is not computing the gradients: the time inside the rounds."""
        return self.seconds - self.compute

    @property
    def over_floor(self):
        return self.rounds / self.floor if self.floor else None

    @property
    def over_alone(self):
        """Against the local work alone and the wire alone, one after the other."""
        return self.seconds / (self.compute + self.codec + self.floor) if self.floor else None

    @property
    def over_alone_without_codec(self):
        return self.seconds / (self.compute + self.floor) if self.floor else None


def settled(result, stage):
    """The stage's timings without the steps of its first line in the log, which are slower (cells.LOG_EVERY)."""
    all_of_it = result["summary"]["timings"][stage]
    slower = next((line["timings"][stage] for line in result["log"] if line["timings"][stage]["steps"]), None)
    return {part: all_of_it[part] - slower[part] for part in all_of_it} if slower else all_of_it


def step_of(result, stage):
    summary, timings = result["summary"], settled(result, stage)
    steps = timings["steps"]
    rate = RATES[result["cell"]["rate"]]
    sent = summary["bytes_sent"][stage] / summary["stage_steps"][stage]
    return Step(
        steps=steps,
        seconds=timings["step"] / steps,
        compute=timings["compute"] / steps,
        codec=sum(timings[part] for part in ("scan", "send", "serve", "receive")) / steps,
        waiting=timings["wait"] / steps,
        bytes_sent=sent,
        floor=8 * sent / rate if rate else 0.0,
    )


def main_step(result):
    """Of the stage that the cell is about: what comes after the freeze step, if anything does."""
    return step_of(result, "compressed" if result["summary"]["timings"]["compressed"]["steps"] else "dense")


def counted(result):
    """What rank 0's interface counted as sent, over what its communicator did: with the headers that a segment of up to 64 kB
    has, and with those of all packets that the interface makes of it, which a limited rate has to carry, too."""
    host, sent = result["counters"]["hosts"][0], result["summary"]["bytes_sent_per_rank"]
    whole = host["sent_with_all_headers"]
    return host["sent"] / sent, whole / sent if whole else None


def with_warm_up(fp16, onebit):
    """Seconds of a mean step of a run whose first fifth is dense, as the baseline's steps are, and the rest compressed."""
    return WARM_UP * main_step(fp16).seconds + (1 - WARM_UP) * main_step(onebit).seconds


def time_to(result, accuracy):
    """(seconds of training, steps) at the first evaluation that reached it, or None. Evaluations themselves do not count."""
    for epoch in result["epochs"]:
        if epoch["test_accuracy"] >= accuracy:
            return epoch["seconds"], epoch["step"]
    return None
