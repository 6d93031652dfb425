# SPDX-License-Identifier: Apache-2.0
"""PyTorch: an optimizer in whose place another one stood.

    optimizer = onebit.torch.DistributedOptimizer(model, "config.toml")
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss_of(model(inputs), targets).backward()   # gradients travel as they come
        optimizer.step()

Tested with PyTorch 1.13 and 2.15 on the CPU.
"""

import contextlib
import os
import pathlib
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import torch

from ._errors import Error, InvalidArgumentError
from ._hooks import Hooks, chunks_of
from ._session import LoadReport, Manifest, SaveReport, Session, StepReport

_KEY = "onebit"  # in a state_dict
_MESSAGE_BYTES = 16 << 20  # of tensors that are broadcast together


class DistributedOptimizer(torch.optim.Optimizer):
    """The configured optimizer, run by all ranks together: the model is replicated, each rank computes gradients from its own
    samples, and ``step`` turns them into the same update on all ranks. Parameters become rank 0's when it is made, and so do
    the buffers of a module.

    model: a ``torch.nn.Module``; or pairs of name and parameter, such as ``model.named_parameters()``; or a list of groups,
        ``{"params": pairs, "lr": ..., "weight_decay": ...}``. Only trainable parameters take part; tied ones once.
    config: the path of a manifest, or an ``onebit.Manifest``. Groups stand for ``[[optimizer.group]]`` tables, of which it may
        then have none itself.
    overrides: as of ``--set``, such as ``["optimizer.lr=1e-3"]``.
    grad_scaler: a ``torch.amp.GradScaler``, whose scale is used when a step begins: do not call its ``unscale_``; a step that
        overflows on any rank is skipped on all.
    session: arguments of :class:`onebit.Session`: rendezvous, timeout, log_level, plugins, on_step.

    Parameters stay where they are in memory: ``load_state_dict`` copies into them, ``.to()`` and ``.data = ...`` are errors in
    the next step. Those of fp16 and bf16 have fp32 masters in the session, and get what these are, rounded, after each step;
    whatever else writes to them is an error, too. Learning rates are those of ``param_groups``, so that schedulers work;
    ``weight_decay`` is fixed.

    Gradients travel during ``backward()`` (``session.overlap = false`` turns it off), so between it and ``step()`` they stay
    as they are: clip them by ``session.clip_norm``. Accumulate under ``no_sync()`` in all passes but the last.

    ``state_dict()`` has the groups and the step, and not the state, of which each rank has its own part: ``save`` and
    ``load`` do that, collectively.
    """

    # Then a GradScaler leaves gradients as they are, and sets grad_scale around step(): None where it has unscaled them.
    _step_supports_amp_scaling = hasattr(getattr(torch, "amp", None), "GradScaler")

    def __init__(
        self,
        model: Union[torch.nn.Module, Iterable[Any]],
        config: Union[str, "os.PathLike[str]", Manifest],
        *,
        overrides: Sequence[str] = (),
        grad_scaler: Any = None,
        **session: Any,
    ) -> None:
        groups = _groups_of(model)
        self._names: List[str] = [name for group in groups for name, _ in group["params"]]
        self._tensors: List[torch.Tensor] = [p for group in groups for _, p in group["params"]]
        self._scaler = grad_scaler
        named = [(name, p.detach()) for name, p in zip(self._names, self._tensors)]
        self.session = Session(_manifest_of(config, groups), named, overrides=overrides, **session)
        self._places = [p.data_ptr() for p in self._tensors]
        self._row_by_row = [p.dtype is torch.float32 and p.is_contiguous() for p in self._tensors]
        self._versions = {k: p._version for k, p in enumerate(self._tensors) if p.dtype is not torch.float32}
        #: This rank's gradients are multiplied by it, besides a GradScaler's: 1 / passes, where several passes were added up.
        self.gradient_scale = 1.0
        self._scale = 1.0  # the session's
        module = isinstance(model, torch.nn.Module)
        self._frozen = [(n, p) for n, p in model.named_parameters() if not p.requires_grad] if module else []
        self._rates = self.session.learning_rates
        self._configured = list(self._rates)
        self._first_group = int(_are_told(groups))  # of the session's, which those of param_groups are
        rates = self._configured[self._first_group :]
        for group, rate in zip(groups, rates):
            group["lr"] = rate
        super().__init__([{**group, "params": [p for _, p in group["params"]]} for group in groups], {"lr": rates[0]})
        self._base = [group["lr"] for group in self.param_groups]
        self._decay = [group.get("weight_decay") for group in self.param_groups]
        self._synchronizing = True
        self._hooks = Hooks(self._tensors, self._come) if self._overlaps() else None
        self._restart()
        if module:
            self._broadcast([p for _, p in self._frozen] + list(model.buffers()))

    def _overlaps(self) -> bool:
        lines = self.session.configuration.splitlines()
        return "overlap = true" in lines and not any(p.is_cuda for p in self._tensors)

    def _restart(self) -> None:
        self._begun = False
        self._told: Dict[int, Tuple[torch.Tensor, int, torch.Tensor]] = {}  # by number: gradient, version, what was announced
        if self._hooks is not None:
            self._hooks.close()

    # ---- a step

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:  # type: ignore[override]
        """Collective. Answers what ``closure`` does, as torch's optimizers do; ``last_report`` has the step's report."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if getattr(self, "grad_scale", 0) is None:
            if self._begun:
                self._give_up()
            raise InvalidArgumentError("the GradScaler has unscaled the gradients: do not call unscale_, set session.clip_norm")
        with torch.no_grad():
            if self._hooks is not None and not self._begun:  # no gradient has come here, but on another rank
                self._begin()
            self.last_report: StepReport = self._finish() if self._begun else self._whole()
        return loss

    def _begin(self) -> None:
        self._prepare()
        self.session.begin(self._stream())
        self._begun = True
        if self._hooks is not None:
            self._hooks.open()

    def _whole(self) -> StepReport:
        self._prepare()
        stream = self._stream()
        try:
            report = self.session.step_at(self._take(range(len(self._tensors))), stream)
            return report if stream is None else self.session.settle()  # what was converted for the step is let go
        finally:
            self._restart()

    def _finish(self) -> StepReport:
        try:
            if hasattr(self, "grad_scale") and self._scaler is None:
                raise InvalidArgumentError("gradients have been sent without their scale: give the GradScaler as grad_scaler")
            tensors = self._tensors
            for k, (gradient, version, _) in self._told.items():
                if tensors[k].grad is not gradient or gradient._version != version:
                    raise InvalidArgumentError(
                        f"the gradient of {self._names[k]!r} was changed between backward() and step(), after it had been "
                        "sent: clip by session.clip_norm, scale by the argument grad_scaler, or set session.overlap = false"
                    )
            if len(self._told) < len(tensors):
                self._tell([k for k, p in enumerate(tensors) if k not in self._told])
            report = self.session.finish()
        except BaseException:
            self._give_up()
            raise
        self._restart()
        return report

    def _give_up(self) -> None:
        """Ends the session on all ranks. Returns when nothing reads the gradients any longer."""
        self.session.abort(f"rank {self.session.rank} gave up a step that had begun")
        with contextlib.suppress(Error):
            self.session.finish()
        self._restart()

    def _stream(self) -> Optional[int]:
        device = self._tensors[0].device
        return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None

    def _take(self, numbers: Iterable[int]) -> List[int]:
        """Where these gradients are, as the session takes them: fp32, in the order of the parameter's memory; 0: there is none.
        One pass over the tensors, whose objects backward() has driven from the cache."""
        tensors, places, simple, told = self._tensors, self._places, self._row_by_row, self._told
        strided, fp32 = torch.strided, torch.float32
        found = []
        for k in numbers:
            p = tensors[k]
            if p.data_ptr() != places[k]:
                raise InvalidArgumentError(
                    f"the memory of {self._names[k]!r} has moved, so that the session steps what the model no longer has: make "
                    "the optimizer after .to(), .data = ..., and load_state_dict(assign=True)"
                )
            own = taken = p.grad
            if own is None:
                found.append(0)
                continue
            if k in told:
                raise InvalidArgumentError(
                    f"backward() reached {self._names[k]!r} a second time before step(): let optimizer.no_sync() hold in all "
                    "passes but the last"
                )
            if not (simple[k] and own.dtype is fp32 and own.layout is strided and own.is_contiguous() and not own.is_neg()):
                taken = self._converted(k, own)
            told[k] = (own, own._version, taken)
            found.append(taken.data_ptr())
        return found

    def _converted(self, k: int, gradient: torch.Tensor) -> torch.Tensor:
        parameter = self._tensors[k]
        if gradient.layout != torch.strided:
            raise TypeError(f"the gradient of {self._names[k]!r} is {gradient.layout}; expected a dense one (sparse=False)")
        if gradient.dtype is not torch.float32 or gradient.stride() != parameter.stride() or gradient.is_neg():
            gradient = torch.empty_like(parameter, dtype=torch.float32, memory_format=torch.preserve_format).copy_(gradient)
        return gradient

    def _prepare(self) -> None:
        for k, version in self._versions.items():
            if self._tensors[k]._version != version:
                raise InvalidArgumentError(
                    f"{self._names[k]!r}, of {self._tensors[k].dtype}, was written to: the session's fp32 master would undo "
                    "that. Make the optimizer after load_state_dict, or load(folder)"
                )
        for name, p in self._frozen:
            if p.requires_grad:
                raise InvalidArgumentError(f"{name!r} has become trainable: make another DistributedOptimizer")
        self._set_rates()

    def _set_rates(self) -> None:
        if any(group.get("weight_decay") != decay for group, decay in zip(self.param_groups, self._decay)):
            raise InvalidArgumentError("weight_decay of a group was changed: it is fixed when the optimizer is made")
        own = [float(group["lr"]) for group in self.param_groups]
        if self._first_group == 1:
            rates = [self._configured[0], *own]
        else:  # one group, which stands for all that the manifest has
            rates = [rate * (own[0] / self._base[0]) if self._base[0] else own[0] for rate in self._configured]
            rates[0] = own[0]
        if rates != self._rates:
            self.session.learning_rates = rates
            self._rates = rates
        scale = getattr(self, "grad_scale", None)  # set by a GradScaler around step()
        if self._scaler is not None and self._scaler.is_enabled():
            scale = self._scaler.get_scale()
        own_scale = self.gradient_scale / (1.0 if scale is None else float(scale))
        if own_scale != self._scale:
            self.session.set_gradient_scale(own_scale)
            self._scale = own_scale

    # ---- gradients that come

    def _come(self, chunk: int) -> None:
        """Of the hooks: a chunk's last gradient has come, or one before the step has begun, or one too many."""
        assert self._hooks is not None
        numbers = self._hooks.taken(chunk)
        if not self._synchronizing:
            return
        if not self._begun:
            self._begin()
            if self._hooks.put_back(chunk, numbers):
                return
            numbers = self._hooks.taken(chunk)
        self._tell(numbers)

    def _tell(self, numbers: List[int]) -> None:
        """Hands gradients to the session, whose transfers begin."""
        self.session.ready_at(numbers, self._take(numbers))

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Meanwhile ``backward()`` only adds to the gradients. ``gradient_scale = 1 / passes`` takes their mean."""
        before, self._synchronizing = self._synchronizing, False
        try:
            yield
        finally:
            self._synchronizing = before

    def broadcast_buffers(self, module: torch.nn.Module) -> None:
        """Collective. The module's buffers, such as BatchNorm's running means, become rank 0's."""
        self._broadcast(list(module.buffers()))

    def _broadcast(self, tensors: List[torch.Tensor]) -> None:
        """As bytes, small ones together."""

        def bytes_of(t: torch.Tensor) -> int:
            return t.numel() * t.element_size()

        with torch.no_grad():
            for some in chunks_of(tensors, bytes_of, _MESSAGE_BYTES):
                whole = torch.cat([t.detach().cpu().contiguous().view(-1).view(torch.uint8) for t in some])
                self.session.broadcast(whole)
                for t, own in zip(some, whole.split([bytes_of(t) for t in some])):
                    t.copy_(own.clone().view(t.dtype).view(t.shape))

    # ---- state

    def save(self, root: Union[str, "os.PathLike[str]"], **options: Any) -> SaveReport:
        """Collective. Session.save: all that decides the next steps, parameters included."""
        return self.session.save(root, **options)

    def load(self, folder: Union[str, "os.PathLike[str]"], **options: Any) -> LoadReport:
        """Collective. Session.load: goes on from what ``save`` saved, here or in C++."""
        report = self.session.load(folder, **options)
        self._rates = self.session.learning_rates
        return report

    def state_dict(self) -> Dict[str, Any]:
        """The groups and the number of the next step; what ``save`` saves is not in it."""
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups]
        return {"state": {}, "param_groups": groups, _KEY: {"next_step": self.session.next_step, "names": list(self._names)}}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Takes the groups, such as a scheduler's rates. The session must have been loaded before."""
        if _KEY not in state_dict:
            raise InvalidArgumentError("this state_dict is another optimizer's: it has no key 'onebit'")
        told, step = state_dict[_KEY], self.session.next_step
        if told["names"] != self._names:
            raise InvalidArgumentError("this state_dict is of a model whose parameters have other names")
        if told["next_step"] != step:
            raise InvalidArgumentError(
                f"this state_dict is of step {told['next_step']}, and the session is at step {step}: load(folder) first what "
                "save(root) saved with it"
            )
        for own, group in zip(self.param_groups, state_dict["param_groups"]):
            own.update({k: v for k, v in group.items() if k != "params"})

    def add_param_group(self, param_group: Dict[str, Any]) -> None:
        if hasattr(self, "_base"):
            raise InvalidArgumentError("parameters can't be added later: make another DistributedOptimizer")
        super().add_param_group(param_group)

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a DistributedOptimizer can't be copied: its session is one rank's part of a run")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a DistributedOptimizer can't be pickled: save(root) saves its state")


def _groups_of(model: Any) -> List[Dict[str, Any]]:
    """Each with ``params``: pairs of name and tensor, trainable ones, tied ones once."""
    given = list(model.named_parameters()) if isinstance(model, torch.nn.Module) else list(model)
    groups = [dict(group) for group in given] if given and isinstance(given[0], dict) else [{"params": given}]
    seen: Dict[int, str] = {}
    for group in groups:
        unknown = set(group) - {"params", "lr", "weight_decay"}
        if unknown:
            raise InvalidArgumentError(f"groups have lr and weight_decay of their own, and not {', '.join(sorted(unknown))}")
        pairs = []
        for pair in group["params"]:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], torch.Tensor)):
                raise TypeError(f"a {type(pair).__name__} is no pair of name and parameter: give model.named_parameters()")
            if pair[1].requires_grad and id(pair[1]) not in seen:
                seen[id(pair[1])] = pair[0]
                pairs.append(pair)
        group["params"] = pairs
    if not seen:
        raise InvalidArgumentError("there is no trainable parameter")
    return groups


def _are_told(groups: List[Dict[str, Any]]) -> bool:
    return len(groups) > 1 or "lr" in groups[0] or "weight_decay" in groups[0]


def _manifest_of(config: Any, groups: List[Dict[str, Any]]) -> Any:
    """With a table for each group, where they are told."""
    if not _are_told(groups):
        return config
    manifest = config if isinstance(config, Manifest) else _read(pathlib.Path(config))
    if "[[optimizer.group]]" in manifest.text:
        raise InvalidArgumentError(
            f"{manifest.name} has [[optimizer.group]] tables, and groups of parameters are given as well: one of the two"
        )
    text = manifest.text
    for group in groups:
        text += "\n[[optimizer.group]]\ntensors = [" + ", ".join(_quoted(name) for name, _ in group["params"]) + "]\n"
        text += "".join(f"{key} = {float(group[key])!r}\n" for key in ("lr", "weight_decay") if key in group)
    return manifest._replace(text=text)


def _read(file: pathlib.Path) -> Manifest:
    return Manifest(file.read_text(encoding="utf-8"), str(file), file.parent)


def _quoted(name: str) -> str:
    if any(c in name for c in '*?"\\\n'):
        raise InvalidArgumentError(f"the parameter {name!r} has a character in its name that stands for others in a manifest")
    return f'"{name}"'

