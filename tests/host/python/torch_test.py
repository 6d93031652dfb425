# SPDX-License-Identifier: Apache-2.0
"""onebit.torch.DistributedOptimizer: as torch.optim.AdamW on one rank, with hooks and without them, schedulers, misuse."""

import copy
import gc
import pickle
import tempfile
import threading
import unittest
import weakref

import torch
from ranks import ONEBIT_ADAM, Ranks

import onebit
from onebit.torch import DistributedOptimizer

ADAMW = onebit.Manifest(
    '[optimizer]\nplugin = "adam"\nbias_correction = true\nlr = 0.01\nweight_decay = 0.1\n'
    '[communicator]\nplugin = "threads"\ntimeout = 60\n'
)
WITHOUT_OVERLAP = ["session.overlap=false"]


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = torch.nn.Linear(20, 32), torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 4)
        self.unused = torch.nn.Linear(3, 3)

    def forward(self, inputs):
        return self.last(torch.tanh(self.norm(self.first(inputs))))


_one_at_a_time = threading.Lock()  # the seed is the process's


def network(seed=0):
    with _one_at_a_time:
        torch.manual_seed(seed)
        return Network()


def batch(step, rank=0):
    generator = torch.Generator().manual_seed(1000 * rank + step)
    inputs = torch.randn(16, 20, generator=generator)
    return inputs, inputs[:, :4].sin()


def loss_of(model, step, rank=0):
    inputs, targets = batch(step, rank)
    return torch.nn.functional.mse_loss(model(inputs), targets)


def train(model, optimizer, steps, rank=0, scheduler=None):
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss_of(model, step, rank).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def values(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def groups_of(model, named):
    pairs = [(name, p) for name, p in model.named_parameters()]
    biases = [pair for pair in pairs if pair[0].endswith("bias")]
    weights = [pair for pair in pairs if not pair[0].endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.005, "weight_decay": 0.0}]
    return groups if named else [{**group, "params": [p for _, p in group["params"]]} for group in groups]


def without_norm():
    """Before a BatchNorm a bias has no gradient but rounding, of which Adam makes steps."""
    model = network()
    model.norm = torch.nn.Identity()
    return model


class AsTorch(unittest.TestCase):
    def test_adamw_with_groups_a_cosine_scheduler_and_unused_parameters(self):
        theirs, ours = without_norm(), without_norm()
        reference = torch.optim.AdamW(groups_of(theirs, False), lr=0.003, weight_decay=0.1)
        optimizer = DistributedOptimizer(groups_of(ours, True), ADAMW, overrides=["optimizer.lr=3e-3"])
        cosine = lambda of: torch.optim.lr_scheduler.CosineAnnealingLR(of, 200, eta_min=1e-4)  # noqa: E731
        train(theirs, reference, 200, scheduler=cosine(reference))
        train(ours, optimizer, 200, scheduler=cosine(optimizer))
        self.assertLessEqual((values(theirs) - values(ours)).abs().max().item(), 1e-6)
        self.assertLess(optimizer.param_groups[0]["lr"], 2e-4)

    def test_one_group_and_other_schedulers(self):
        for make in (
            lambda of: torch.optim.lr_scheduler.OneCycleLR(of, 0.02, total_steps=30, cycle_momentum=False),
            lambda of: torch.optim.lr_scheduler.LambdaLR(of, lambda epoch: 0.9**epoch),
        ):
            theirs, ours = without_norm(), without_norm()
            reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
            optimizer = DistributedOptimizer(ours, ADAMW)
            train(theirs, reference, 29, scheduler=make(reference))
            train(ours, optimizer, 29, scheduler=make(optimizer))
            self.assertLessEqual((values(theirs) - values(ours)).abs().max().item(), 1e-6)

    def test_a_closure_and_the_report(self):
        model = network()
        optimizer = DistributedOptimizer(model, ADAMW)

        def closure():
            optimizer.zero_grad()
            loss = loss_of(model, 1)
            loss.backward()
            return loss

        self.assertGreater(optimizer.step(closure).item(), 0)
        self.assertEqual((optimizer.last_report.number, optimizer.last_report.absent), (1, 2))

    def test_bf16_parameters_have_masters(self):
        model = torch.nn.Linear(20, 4).to(torch.bfloat16)
        optimizer = DistributedOptimizer(model, ADAMW)
        before = model.weight.detach().clone()
        for step in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 20, dtype=torch.bfloat16)).sum().backward()
            optimizer.step()
        self.assertEqual(model.weight.dtype, torch.bfloat16)
        self.assertFalse(torch.equal(before, model.weight))
        model.load_state_dict({"weight": before, "bias": model.bias.detach().clone()})
        with self.assertRaisesRegex(onebit.InvalidArgumentError, "'weight', of torch.bfloat16, was written to"):
            optimizer.step()


class Ranked(unittest.TestCase):
    def test_gradients_under_backward_give_the_same_bits_as_after_it(self):
        def body(rank, place, overrides, manifest, steps=8):
            model = network(rank)  # which become rank 0's
            optimizer = DistributedOptimizer(model, manifest, rendezvous=place, overrides=overrides)
            begun = []
            for step in range(1, steps + 1):
                optimizer.zero_grad()
                with optimizer.no_sync():
                    loss_of(model, 100 + step, rank).backward()
                loss_of(model, step, rank).backward()
                begun.append(optimizer._begun)
                optimizer.step()
            return values(model), begun, optimizer.session.parameter_hash()

        manifest = ONEBIT_ADAM._replace(text=ONEBIT_ADAM.text + "[exchange]\nbucket_bytes = 4096\n")
        for chosen in (manifest, ADAMW):
            early = Ranks(2).run(body, (), chosen)
            late = Ranks(2).run(body, WITHOUT_OVERLAP, chosen)
            self.assertEqual([one[1] for one in early], [[True] * 8] * 2)
            self.assertEqual([one[1] for one in late], [[False] * 8] * 2)
            for one in (*early, *late):
                self.assertTrue(torch.equal(one[0], early[0][0]))
                self.assertEqual(one[2], early[0][2])

    @unittest.skipUnless(hasattr(getattr(torch, "amp", None), "GradScaler"), "this torch has no GradScaler for CPUs")
    def test_a_grad_scaler_under_backward_and_after_it(self):
        def body(rank, place, scaled, overrides):
            model = network(rank)
            scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3) if scaled else None
            options = {"rendezvous": place, "overrides": overrides, "grad_scaler": scaler}
            optimizer = DistributedOptimizer(model, ADAMW, **options)
            for step in range(1, 9):
                optimizer.zero_grad()
                loss = loss_of(model, step, rank)
                if scaler is None:
                    loss.backward()
                    optimizer.step()
                    continue
                scaler.scale(loss * (float("inf") if (step, rank) == (5, 1) else 1)).backward()
                scaler.step(optimizer)
                scaler.update()
                self.assertEqual(optimizer.last_report.skipped, step == 5)
            return values(model), optimizer.session.next_step

        early, late = Ranks(2).run(body, True, ()), Ranks(2).run(body, True, WITHOUT_OVERLAP)
        for one in (*early, *late):
            self.assertTrue(torch.equal(one[0], early[0][0]))
            self.assertEqual(one[1], 8)  # one was skipped, on both

    def test_a_rank_without_gradients_steps_with_the_others(self):
        def body(rank, place):
            model = network(rank)
            options = {"rendezvous": place, "overrides": ["exchange.bucket_bytes=4096"]}
            optimizer = DistributedOptimizer(model, ONEBIT_ADAM, **options)
            for step in range(1, 6):
                optimizer.zero_grad()
                if rank == 0 or step % 2 == 0:
                    loss_of(model, step, rank).backward()
                if optimizer._begun:
                    with self.assertRaisesRegex(onebit.InvalidArgumentError, "between onebit_session_begin and"):
                        optimizer.session.all_reduce([1.0])
                optimizer.step()
            return values(model)

        first, second = Ranks(2).run(body)
        self.assertTrue(torch.equal(first, second))

    def test_passes_are_averaged_by_the_gradient_scale(self):
        def body(rank, place, passes):
            model = without_norm()
            optimizer = DistributedOptimizer(model, ADAMW._replace(text=ADAMW.text.replace("adam", "lamb")), rendezvous=place)
            optimizer.gradient_scale = 1 / passes
            for step in range(1, 5):
                optimizer.zero_grad()
                with optimizer.no_sync():
                    for _ in range(passes - 1):
                        loss_of(model, step, rank).backward()
                loss_of(model, step, rank).backward()
                optimizer.step()
                self.assertEqual(optimizer.last_report.gradient_scale, 1 / passes)
            return values(model)

        once, twice = Ranks(2).run(body, 1)[0], Ranks(2).run(body, 2)[0]
        self.assertTrue(torch.equal(once, twice))

    def test_buffers_and_parameters_become_rank_0s(self):
        def body(rank, place):
            model = network(rank)
            model.last.requires_grad_(False)
            model.norm.running_mean.fill_(rank + 3.0)
            optimizer = DistributedOptimizer(model, ADAMW, rendezvous=place)
            return values(model), model.norm.running_mean.clone(), optimizer.session.size

        first, second = Ranks(2).run(body)
        self.assertTrue(torch.equal(first[0], second[0]))  # those that are frozen, too
        self.assertTrue((second[1] == 3.0).all())

    def test_save_load_and_a_scheduler_go_on_to_the_same_bits(self):
        def body(rank, place, root, begin, end):
            model = network(rank)
            optimizer = DistributedOptimizer(model, ONEBIT_ADAM, rendezvous=place)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
            if begin > 1:
                with self.assertRaisesRegex(onebit.InvalidArgumentError, "is of step 6, and the session is at step 1: load"):
                    optimizer.load_state_dict(torch.load(root + "/torch.pt"))
                optimizer.load(root)
                told = torch.load(root + "/torch.pt")
                optimizer.load_state_dict(told)
                scheduler.load_state_dict(torch.load(root + "/scheduler.pt"))
            for step in range(begin, end + 1):
                optimizer.zero_grad()
                loss_of(model, step, rank).backward()
                optimizer.step()
                scheduler.step()
            if end == 5:
                optimizer.save(root)
                if rank == 0:
                    torch.save(optimizer.state_dict(), root + "/torch.pt")
                    torch.save(scheduler.state_dict(), root + "/scheduler.pt")
            return optimizer.session.parameter_hash()

        with tempfile.TemporaryDirectory() as root:
            Ranks(2).run(body, root, 1, 5)
            self.assertEqual(Ranks(2).run(body, root, 6, 10), Ranks(2).run(body, root, 1, 10))


class Misuse(unittest.TestCase):
    def two(self, body):
        def ranked(rank, place):
            model = network(rank)
            optimizer = DistributedOptimizer(model, ONEBIT_ADAM, rendezvous=place, overrides=["exchange.bucket_bytes=4096"])
            body(rank, model, optimizer)

        Ranks(2).run(ranked)

    def test_a_gradient_that_was_changed_after_it_was_sent(self):
        def body(rank, model, optimizer):
            loss_of(model, 1, rank).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            with self.assertRaisesRegex(onebit.Error, "was changed between backward.. and step..|gave up a step"):
                optimizer.step()

        self.two(body)

    def test_a_second_backward(self):
        def body(rank, model, optimizer):
            loss_of(model, 1, rank).backward()
            with self.assertRaisesRegex(onebit.InvalidArgumentError, "a second time before step.*no_sync"):
                loss_of(model, 2, rank).backward()

        self.two(body)

    def test_what_is_refused(self):
        model = network()
        optimizer = DistributedOptimizer(model, ADAMW)
        for call, error in (
            (lambda: copy.deepcopy(optimizer), TypeError),
            (lambda: pickle.dumps(optimizer), TypeError),
            (lambda: optimizer.load_state_dict(torch.optim.AdamW(model.parameters()).state_dict()), ValueError),
            (lambda: optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]}), ValueError),
            (lambda: DistributedOptimizer(model.parameters(), ADAMW), TypeError),
            (lambda: DistributedOptimizer([("w", torch.ones(3))], ADAMW), ValueError),
            (lambda: DistributedOptimizer([{"params": [("w*", model.first.bias)], "lr": 1}], ADAMW), ValueError),
        ):
            with self.assertRaises(error):
                call()
        with self.assertRaisesRegex(ValueError, "and not betas"):
            DistributedOptimizer([{"params": list(model.named_parameters()), "betas": (0.5, 0.9)}], ADAMW)
        optimizer.param_groups[0]["weight_decay"] = 3.0
        with self.assertRaisesRegex(ValueError, "weight_decay"):
            optimizer.step()

    def test_a_step_that_could_not_begin_leaves_nothing_behind(self):
        model = network()
        optimizer = DistributedOptimizer(model, ADAMW)
        decay = optimizer.param_groups[0].get("weight_decay")
        optimizer.param_groups[0]["weight_decay"] = 3.0
        with self.assertRaisesRegex(ValueError, "weight_decay"):
            loss_of(model, 1, 0).backward()
        optimizer.param_groups[0]["weight_decay"] = decay
        for step in (1, 2):
            optimizer.zero_grad()
            loss_of(model, step, 0).backward()
            optimizer.step()
            self.assertEqual(optimizer.last_report.number, step)
        with self.assertRaisesRegex(TypeError, "torch.float64"):
            DistributedOptimizer(torch.nn.Linear(2, 2).double(), ADAMW)

    def test_parameters_that_moved(self):
        model = network()
        optimizer = DistributedOptimizer(model, ADAMW)
        model.load_state_dict(network(5).state_dict())  # copies
        train(model, optimizer, 1)
        model.first.weight.data = model.first.weight.data.clone()
        with self.assertRaisesRegex(onebit.InvalidArgumentError, "the memory of 'first.weight' has moved"):
            train(model, optimizer, 1)

    def test_tied_parameters_are_one(self):
        first, second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        second.weight = first.weight
        model = torch.nn.Sequential(first, second)
        optimizer = DistributedOptimizer(model, ADAMW)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        self.assertEqual(optimizer.session.names, ["0.weight", "0.bias", "1.bias"])

    def test_it_goes_when_nobody_has_it(self):
        model = network()
        optimizer = DistributedOptimizer(model, ADAMW)
        train(model, optimizer, 1)
        gone = weakref.ref(optimizer)
        del optimizer
        gc.collect()
        self.assertIsNone(gone())
        loss_of(model, 1).backward()  # and the model is used without it
        DistributedOptimizer(model, ADAMW).step()


if __name__ == "__main__":
    unittest.main()
