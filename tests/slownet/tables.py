# SPDX-License-Identifier: Apache-2.0
"""The benchmark's tables, in Markdown."""

from bench_report import markdown
from figures import WARM_UP, counted, main_step, time_to, with_warm_up

RATE_NAMES = {"10mbit": "10 Mbit/s", "100mbit": "100 Mbit/s", "1gbit": "1 Gbit/s", "unlimited": "unlimited"}


def milliseconds(seconds):
    return f"{1e3 * seconds:,.0f}"


def times(ratio):
    return "-" if ratio is None else f"{ratio:.2f}x"


def where(result):
    cell = result["cell"]
    return f"{RATE_NAMES[cell['rate']]}, {cell['hosts']} hosts"


def groups(results):
    """Results by rate and hosts: {(rate, hosts): {name: result}}, in the order of the plan."""
    found = {}
    for result in results:
        cell = result["cell"]
        found.setdefault((cell["rate"], cell["hosts"]), {})[cell["name"]] = result
    return found


def step_rows(results):
    for group in groups(results).values():
        fp16 = main_step(group["adam fp16"])
        for name, result in group.items():
            step, (interface, on_wire) = main_step(result), counted(result)
            yield [
                where(result),
                name,
                milliseconds(step.seconds),
                milliseconds(step.compute),
                milliseconds(step.codec),
                milliseconds(step.waiting),
                f"{step.bytes_sent / 1e6:.1f}",
                times(step.over_floor),
                f"{interface:.3f}, {on_wire:.3f}" if on_wire else f"{interface:.3f}",
                f"{fp16.seconds / step.seconds:.2f}x",
            ]


def step_table(results):
    header = ["network", "configuration", "ms a step", "computing", "codec", "waiting", "MB sent", "rounds / floor"]
    return markdown(header + ["interface / communicator", "faster than fp16"], step_rows(results))


def gain_rows(results):
    for group in groups(results).values():
        steps = [main_step(group[name]).seconds for name in ("adam fp32", "adam fp16", "onebit_adam")]
        gain = steps[1] / with_warm_up(group["adam fp16"], group["onebit_adam"])
        yield [where(group["adam fp16"]), *map(milliseconds, steps), times(steps[1] / steps[2]), times(gain)]


def gain_table(results):
    header = ["network", "adam fp32", "adam fp16", "1-bit Adam, compressed", "faster than fp16", f"with {WARM_UP:.0%} of the steps dense"]
    return markdown(header, gain_rows(results), names=1)


def alone_rows(results):
    for group in groups(results).values():
        step = main_step(group["onebit_adam"])
        parts = map(milliseconds, (step.compute, step.codec, step.floor, step.seconds))
        yield [where(group["onebit_adam"]), *parts, times(step.over_alone), times(step.over_alone_without_codec)]


def alone_table(results):
    header = ["network", "computing", "codec", "wire", "the step", "over their sum", "over computing + wire"]
    return markdown(header, alone_rows(results), names=1)


def overlap_rows(results):
    """Cells come in pairs, first without overlap."""
    for without, with_it in zip(results[::2], results[1::2]):
        before, now = main_step(without), main_step(with_it)
        name = without["cell"]["name"].removesuffix(" without overlap")
        yield [where(without), name, *map(milliseconds, (before.compute, before.seconds, now.seconds)), times(now.seconds / before.seconds)]


def overlap_table(results):
    header = ["network", "model and configuration", "computing", "sent at the end", "sent in backward", "ratio"]
    return markdown(header, overlap_rows(results))


def ddp_rows(ddp, pairs):
    ours = {(r["cell"]["rate"], r["cell"]["name"]): main_step(r).seconds for r in pairs}
    for result in ddp:
        seconds, rate = result["seconds"], result["rate"]
        found = [ours[rate, f"mlp_deep {name} with overlap"] for name in ("adam fp16", "onebit_adam")]
        yield [f"{RATE_NAMES[rate]}, 2 hosts", milliseconds(seconds), *map(milliseconds, found), times(seconds / found[1])]


def ddp_table(ddp, pairs):
    header = ["network", "DistributedDataParallel, fp16", "adam fp16 with overlap", "1-bit Adam with overlap", "faster"]
    return markdown(header, ddp_rows(ddp, pairs), names=1)


def accuracy_rows(results, accuracy):
    reached = {result["cell"]["name"]: time_to(result, accuracy) for result in results}
    for result in results:
        found, fp16 = reached[result["cell"]["name"]], reached["adam fp16"]
        yield [
            where(result),
            result["cell"]["name"],
            f"{found[1]}" if found else "not reached",
            f"{found[0]:.1f}" if found else "-",
            times(fp16[0] / found[0]) if found and fp16 else "-",
            f"{100 * result['summary']['final_test_accuracy']:.2f} %",
            f"{result['summary']['bytes_sent_per_rank'] / 1e6:.1f}",
        ]


def accuracy_table(results, accuracy):
    header = ["network", "configuration", f"steps to {accuracy}", "seconds", "faster than fp16", "accuracy at the end", "MB sent"]
    return markdown(header, accuracy_rows(results, accuracy))
