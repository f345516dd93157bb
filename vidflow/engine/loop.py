"""The training loop: epochs, optimizer steps, validation and checkpoints, the same for every task.

Rules that are easy to get wrong, and how they are here:

- A step takes ``accumulate`` batches; an epoch's last window may be shorter. Each batch's loss counts 1 / (true number
  of batches in its window), so an epoch makes ceil(batches / accumulate) steps, each a mean.
- A sample that was skipped counts for nothing: the loss and the gradient are means over the samples that were read, on
  all processes together. A step without any such sample is not made.
- The rate of a step follows from the epoch and the number of steps made before it. Steps that the gradient scaler
  skipped are not made.
- Every batch has its own seed, from (seed, epoch, position in the epoch, rank): a resumed run draws what an
  uninterrupted one draws.
- Checkpoints are written between steps only. A loss or gradient that is not finite ends the run before the weights
  change, on all processes.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel

from vidflow.batch import Batch, SkippedSample
from vidflow.cli.console import errors
from vidflow.engine.building import LossStep
from vidflow.engine.checkpoint import (
    Progress,
    load_exactly,
    load_optimizer_state,
    optimizer_state,
    read_checkpoint,
    rewrite_progress,
    save_checkpoint,
    save_weights,
)
from vidflow.engine.decoding import DecoderAccount
from vidflow.engine.evaluate import collect, metrics_for, tell_missed
from vidflow.engine.gradients import clip_gradients, scale_gradients
from vidflow.engine.journal import EpochBar, Journal, Meter, epoch_bar
from vidflow.engine.precise_bn import PreciseBN
from vidflow.engine.processes import agree, from_all, share_buffers
from vidflow.engine.runs import AVERAGED, MODEL, RunFolder
from vidflow.engine.schedule import Schedule
from vidflow.engine.seeding import seed_all
from vidflow.engine.signals import StoppedError, StopRequest
from vidflow.engine.skipping import SkipAccount
from vidflow.errors import NonFiniteLossError
from vidflow.pipelines.loader import Loader
from vidflow.pipelines.mixing import BatchMixer
from vidflow.pipelines.turns import TurnLoader


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The numbers of the loop; see [train] and [optim] in the config."""

    epochs: int
    accumulate: int = 1
    clip_norm: float | None = None
    max_steps: int | None = None
    val_every: int = 1
    checkpoint_every_epochs: int = 1
    checkpoint_every_steps: int | None = None
    log_every: int = 20
    main_metric: str = "top1"
    multi_label: bool = False
    seed: int = 0
    max_skipped: float = 1.0
    """Part of an epoch's samples that may be skipped before the run ends with an error."""


class Loop:
    """One run in progress. ``model`` and ``optimizer`` are handed in bare, on the CPU or the device."""

    def __init__(
        self,
        settings: LoopSettings,
        *,
        accelerator: Accelerator,
        run: RunFolder,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        loader: Loader | TurnLoader,
        val_loader: Loader | None,
        ema: AveragedModel | None,
        stop: StopRequest,
        mixer: BatchMixer | None = None,
        step: LossStep | None = None,
        precise_bn: PreciseBN | None = None,
    ) -> None:
        self.settings, self.accelerator, self.run, self.stop = settings, accelerator, run, stop
        self.schedule, self.loader, self.val_loader, self.mixer = schedule, loader, val_loader, mixer
        self.progress, self.precise_bn = Progress(), precise_bn
        self.model, self.optimizer = model, optimizer
        self.base_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.step_model, self.step_optimizer = accelerator.prepare(step or LossStep(model), optimizer)
        self.ema = ema.to(accelerator.device) if ema is not None else None
        self._saved: tuple[Path, dict[str, Any]] | None = None
        """The run's latest checkpoint, on the first process, and the loader's state in it."""
        self._skips = SkipAccount(accelerator, max_share=settings.max_skipped, tell=self._tell)
        self._decoders = DecoderAccount(accelerator, tell=self._tell)

    # -- state -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that a checkpoint holds beside weights and progress."""
        scaler = self.accelerator.scaler
        return {
            "optimizer": optimizer_state(self.optimizer),
            "loader": self.loader.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "num_averaged": int(self.ema.n_averaged) if self.ema is not None else None,
            "num_processes": self.accelerator.num_processes,
        }

    def restore(self, checkpoint: Path) -> None:
        """Continue from a checkpoint, on any number of processes."""
        self.progress, state = read_checkpoint(checkpoint)
        load_exactly(self.model, checkpoint / MODEL)
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.loader.load_state_dict(state["loader"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema is not None and state["num_averaged"] is not None:
            load_exactly(self.ema.module, checkpoint / AVERAGED)
            self.ema.n_averaged.fill_(state["num_averaged"])
        if self.run.owns(checkpoint):
            self._saved = (checkpoint, self.loader.state_dict())
        else:
            self.progress = self.progress.for_another_run()
        if state["num_processes"] != self.accelerator.num_processes:
            self._tell(
                f"resumes with {self.accelerator.num_processes} processes what {state['num_processes']} began: "
                "the total batch changes, and the result will differ from an uninterrupted run's"
            )

    def save(self) -> None:
        """Write a checkpoint of this moment, unless there is one."""
        where = self.loader.state_dict()
        if self._saved is not None and self._saved[1] == where:
            return
        share_buffers(self.accelerator, self.model)
        target = self.run.checkpoints
        if self.accelerator.is_main_process:
            averaged = self.ema.module if self.ema is not None else None
            target = save_checkpoint(self.run, self.progress, self.model, self.state(), averaged=averaged)
        self._saved = (target, where)
        self.accelerator.wait_for_everyone()

    # -- the loop --------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all epochs, or as many steps as wanted, are made."""
        limit = self.settings.max_steps
        return self.progress.epoch >= self.settings.epochs or (limit is not None and self.progress.step >= limit)

    @property
    def _validation_is_due(self) -> bool:
        if not self.val_loader or not self.settings.val_every or self.progress.validated_step == self.progress.step:
            return False
        return self.finished or (self._between_epochs and self.progress.epoch % self.settings.val_every == 0)

    @property
    def _between_epochs(self) -> bool:
        """Whether whole epochs are behind, and nothing of the next one."""
        where = self.loader.state_dict()
        # An epoch resumed with another number of processes starts its batches anew, behind earlier stages.
        return self.progress.epoch > 0 and not where["num_batches"] and not where["stages"]

    @property
    def _validated_model(self) -> nn.Module:
        return self.ema.module if self.ema is not None else self.model

    def __call__(self, journal: Journal) -> Progress:
        """Train until it is finished.

        Raises:
            StoppedError: a signal asked to stop; the state is saved.
            NonFiniteLossError: a loss or gradient is not finite; the last checkpoint is untouched.
        """
        self._decoders.chosen("training", self.loader, journal, step=self.progress.step)
        if self.val_loader is not None:
            self._decoders.chosen("validation", self.val_loader, journal, step=self.progress.step)
        if self.progress.step and self._saved is None:
            self.save()  # what began at another run's checkpoint has its own from here on
        while True:
            if self._validation_is_due:
                self._validate(journal)
            if self.finished:
                return self.progress
            signum = self._train_epoch(journal)
            due = self._between_epochs and self.progress.epoch % self.settings.checkpoint_every_epochs == 0
            saved = bool(signum) or self.finished or due
            # Training does not use the statistics: measured in between, nothing would see them.
            seen = self.finished or (self._between_epochs and (saved or self._validation_is_due))
            if self.precise_bn is not None and seen:
                self.precise_bn(self._validated_model, epoch=self.progress.epoch)
            if saved:
                self.save()
            if signum:
                self._leave(signum)

    def _train_epoch(self, journal: Journal) -> int:
        """The rest of the current epoch; returns early with the number of a signal, or when the run is finished."""
        settings, progress = self.settings, self.progress
        left, signum = len(self.loader) - self.loader.position, 0
        batches = iter(self.loader)
        meter = Meter()
        self.step_model.train()
        title = f"epoch {progress.epoch + 1}/{settings.epochs}"
        active = self.accelerator.is_main_process
        with epoch_bar(title, total=len(self.loader), done=self.loader.position, active=active) as bar:
            while left:
                count = min(settings.accumulate, left)
                made, signum = self._step(batches, count, meter, journal)
                left -= count
                meter = self._note(journal, bar, meter, count, force=not left)
                if left and (signum or self.finished):
                    batches.close()  # type: ignore[attr-defined]
                    self._skips.damage(journal, progress, self.loader.damage)
                    return signum
                if (
                    left
                    and made
                    and settings.checkpoint_every_steps
                    and progress.step % settings.checkpoint_every_steps == 0
                ):
                    self._skips.damage(journal, progress, self.loader.damage)
                    self.save()
        # Behind its last batch the loader moves on to the next epoch.
        next(batches, None)
        self._skips.end_epoch(journal, progress, num_samples=self.loader.num_samples)
        self._skips.damage(journal, progress, self.loader.damage)
        self._decoders.end_epoch("training", self.loader, journal, epoch=progress.epoch + 1, step=progress.step)
        progress.epoch += 1
        return signum

    def _step(self, batches: Iterator[Batch], count: int, meter: Meter, journal: Journal) -> tuple[bool, int]:
        """One optimizer step over ``count`` batches: whether it was made, and the number of a signal to stop or 0."""
        settings, progress, accelerator = self.settings, self.progress, self.accelerator
        rate = self.schedule.factor(epoch=progress.epoch, step=progress.step)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        total = torch.zeros((), device=accelerator.device)
        ids: list[str] = []
        bad_ids: list[str] = []
        skipped: dict[tuple[str, str], SkippedSample] = {}
        lost = 0.0
        num_clips = 0
        for number in range(count):
            with meter.waiting():
                whole = next(batches)
            skipped |= {(sample.key, sample.id): sample for sample in whole.skipped}
            batch = whole.without_skipped()
            weight = int((~batch.padding).sum()) / len(whole)
            lost += (1 - weight) / count
            seed_all(settings.seed, "batch", progress.epoch, self.loader.position, accelerator.process_index)
            # Gradients travel between processes with the last batch of the window.
            last = number == count - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.step_model):
                losses = self.step_model(self._mixed(batch.to(accelerator.device)))
                loss = torch.stack(list(losses.values())).sum()
                accelerator.backward(loss * weight / count)
            total += loss.detach().float() * weight / count
            num_clips += batch.clips.shape[0] * batch.clips.shape[1] if "clips" in batch.inputs else len(batch)
            ids += batch.ids
            if not torch.isfinite(loss):
                bad_ids += batch.ids
        report = agree(accelerator, loss=total, share=1 - lost, num_skipped=len(skipped), stop_signal=self.stop.signum)
        if report.num_bad:
            self._refuse("the loss", bad_ids)
        if report.num_skipped:
            samples = self.loader.num_samples
            self._skips.note(journal, progress, list(skipped.values()), count=report.num_skipped, num_samples=samples)
        if not scale_gradients(self.parameters, report.share):
            self.step_optimizer.zero_grad()
            return False, report.stop_signal
        norm = clip_gradients(accelerator, self.parameters, settings.clip_norm)
        # A scaler expects infinite gradients now and then: it skips the step and lowers its scale.
        if accelerator.scaler is None and not math.isfinite(norm):
            self._refuse("the gradient", ids)
        self.step_optimizer.step()
        made = not accelerator.optimizer_step_was_skipped
        self.step_optimizer.zero_grad()
        if made:
            progress.step += 1
            if self.ema is not None:
                self.ema.update_parameters(self.model)
        meter.add({"loss": report.loss, **({"grad_norm": norm} if made else {})}, num_clips)
        return made, report.stop_signal

    def _mixed(self, batch: Batch) -> Batch:
        """The latest batch on the device, mixed where that is wanted."""
        if self.mixer is None:
            return batch
        return self.mixer(batch, epoch=self.progress.epoch, position=self.loader.position)

    def _note(self, journal: Journal, bar: EpochBar, meter: Meter, batches: int, *, force: bool) -> Meter:
        """Show a step, and write a line where one is due; returns the meter to go on with."""
        step = self.progress.step
        rate = self.optimizer.param_groups[0]["lr"]
        means = meter.means(self.accelerator.num_processes)
        num_skipped = self.progress.num_skipped
        bar.advance(
            batches,
            f"loss {means.get('loss', math.nan):.4f}  lr {rate:.3g}  {means['clips_per_s']:.1f} clips/s  "
            f"data wait {means['data_wait']:.0%}" + (f"  {num_skipped} skipped" if num_skipped else ""),
        )
        if step % self.settings.log_every and not force:
            return meter
        counted = {"num_skipped": num_skipped} if num_skipped else {}
        journal.write("train", step, {"epoch": self.progress.epoch + 1, "lr": rate, **means, **counted})
        return Meter()

    def _validate(self, journal: Journal) -> None:
        settings, progress = self.settings, self.progress
        assert self.val_loader is not None
        self.val_loader.set_epoch(0)
        metrics = metrics_for(multi_label=settings.multi_label)
        model = self._validated_model
        complete = collect(
            self.accelerator,
            model,
            self.val_loader,
            metrics,
            title="validation",
            total=len(self.val_loader),
            stop=self.stop,
        )
        if not complete:
            self.save()
            self._leave(self.stop.signum)
        progress.validated_step = progress.step
        progress.metrics = metrics.compute()
        value = progress.metrics[settings.main_metric]
        if progress.best is None or value > progress.best:
            # The best weights are never of steps that a resumed run makes again.
            self.save()
            progress.best, progress.best_epoch, progress.best_metrics = value, progress.epoch, progress.metrics
            if self.accelerator.is_main_process:
                about = {"step": str(progress.step), "epoch": str(progress.epoch), settings.main_metric: repr(value)}
                save_weights(self.run.best_weights, model.state_dict(), about)
        for sample in metrics.missed.values():
            told = {"key": sample.key, "id": sample.id, "reason": sample.reason}
            journal.write("missed", progress.step, {"epoch": progress.epoch, **told})
        if self.accelerator.is_main_process:
            tell_missed(metrics)
        self._skips.damage(journal, progress, self.val_loader.damage)
        self._decoders.end_epoch("validation", self.val_loader, journal, epoch=progress.epoch, step=progress.step)
        journal.write("val", progress.step, {"epoch": progress.epoch, "num_samples": len(metrics), **progress.metrics})
        if self.accelerator.is_main_process:
            # Before the checkpoint says that all is done: a run that is killed here validates again.
            self.run.write_metrics(asdict(progress))
            if self._saved is not None and self._saved[1] == self.loader.state_dict():
                rewrite_progress(self.run, self._saved[0], progress)
        numbers = "  ".join(f"{name} {number:.4f}" for name, number in progress.metrics.items())
        self._tell(
            f"epoch {progress.epoch}: {numbers}  "
            f"(best {settings.main_metric} {progress.best:.4f}, epoch {progress.best_epoch})"
        )

    # -- ends ------------------------------------------------------------------------------------------------------

    def _refuse(self, what: str, ids: list[str]) -> NoReturn:
        every = [name for names in from_all(self.accelerator, ids) for name in names]
        shown = ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")
        raise NonFiniteLossError(
            f"{what} is not finite after step {self.progress.step} (epoch {self.progress.epoch + 1}); "
            f"the samples are {shown}. "
            f"The weights were not changed, and checkpoints in {self.run.checkpoints} are those before. "
            "Look at these samples, lower optim.lr, set optim.clip_norm, or use precision fp32"
        )

    def _leave(self, signum: int) -> NoReturn:
        self.accelerator.wait_for_everyone()
        raise StoppedError(
            signum,
            f"stopped by signal {signum} after step {self.progress.step}; "
            f"the state is saved in {self.run.checkpoints}. "
            "Go on with the same command and --resume",
        )

    def _tell(self, text: str) -> None:
        if self.accelerator.is_main_process:
            errors.print(text, markup=False, highlight=False, soft_wrap=True)
