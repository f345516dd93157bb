"""``train``: from a config to a finished run."""

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from vidflow.cli.console import errors
from vidflow.config.experiment import Experiment
from vidflow.dataset import DatasetInfo, PackedDataset
from vidflow.engine.averaging import averaged
from vidflow.engine.building import make_optimizer, use_channels_last
from vidflow.engine.checkpoint import Progress
from vidflow.engine.data import evaluation_loader, open_evaluation, open_training, training_loader
from vidflow.engine.distilling import distill_step
from vidflow.engine.evaluate import main_metric
from vidflow.engine.journal import Journal, check_tracker
from vidflow.engine.labels import check_labels
from vidflow.engine.loop import Loop, LoopSettings
from vidflow.engine.precise_bn import PreciseBN
from vidflow.engine.processes import accelerate_session
from vidflow.engine.resuming import check_same_classes, find_start
from vidflow.engine.runs import ClassList, RunFolder
from vidflow.engine.schedule import Schedule, optimizer_steps, scaled_lr
from vidflow.engine.seeding import determinism, seed_all
from vidflow.engine.signals import StopRequest
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.weights import load_weights, read_head_rows
from vidflow.pipelines.loader import Loader
from vidflow.pipelines.mixing import BatchMixer


def train(config: Experiment, *, resume: bool | Path = False, overwrite: bool = False) -> Progress:
    """Train, validate and write the run's folder ``output/name``.

    Args:
        resume: go on with the folder's last checkpoint, or with a checkpoint's folder; where the run has none yet,
            it starts from the beginning.
        overwrite: delete what an earlier run of this name has written.

    Returns:
        Where the run stands at its end, with the last and the best validation's metrics.

    Raises:
        ConfigError: settings that do not fit, or a folder that is taken.
        DataError: the data set, or labels out of the model's range.
        StoppedError: SIGTERM or SIGINT; the state is saved.
        NonFiniteLossError: a loss or gradient is not finite.
    """
    run = RunFolder(Path(config.output) / config.name)
    start = find_start(run, config, resume=resume, overwrite=overwrite)
    with (
        determinism(config.deterministic),
        accelerate_session(config.train.precision) as accelerator,
        StopRequest() as stop,
    ):
        loop = assemble(config, run, accelerator, stop, fresh=start is None)
        classes = _class_list(config, loop.loader.dataset.info)
        if start is not None:
            check_same_classes(run, classes)
        accelerator.wait_for_everyone()  # every process has looked at the folder before one changes it
        if accelerator.is_main_process:
            if overwrite and run.exists:
                run.clear()
            run.start(config, classes)
        accelerator.wait_for_everyone()
        if start is not None:
            loop.restore(start)
        if accelerator.is_main_process:
            run.forget_after(loop.progress.step, size=loop.progress.log_size if start is not None else 0)
            errors.print(_headline(config, loop, start), markup=False, highlight=False, soft_wrap=True)
        with Journal(
            run, tracker=config.train.tracker, active=accelerator.is_main_process, step=loop.progress.step
        ) as journal:
            progress = loop(journal)
        accelerator.wait_for_everyone()
    return progress


def assemble(
    config: Experiment, run: RunFolder, accelerator: Accelerator, stop: StopRequest, *, fresh: bool = True
) -> Loop:
    """All parts of a run, with everything checked that can be checked before the first step; writes nothing.

    Args:
        fresh: load the weights to start from; a resumed run has its own.
    """
    check_tracker(config.train.tracker)
    data, optim, schedule = config.data, config.optim, config.schedule
    opened: dict[str, PackedDataset] = {}
    training = open_training(data, opened)
    multi_label = training.dataset.info.multi_label
    num_classes = config.model.num_classes or len(training.classes)
    loader = training_loader(config, training, accelerator)
    val_loader = _val_loader(config, training.classes, accelerator, opened, num_classes=num_classes)
    metric = main_metric(config.train.best_metric, multi_label=multi_label)

    seed_all(config.seed, "model")
    model = build_model(
        config.model.name,
        num_classes=num_classes,
        multi_label=multi_label,
        data_classes=training.classes,
        **config.model.options,
    )
    for indices in training.chosen:
        # A model may have a head of its own for one of the sources.
        num_labels = getattr(model, "num_labels", num_classes)
        check_labels(training.dataset, indices, split=data.train_split, num_classes=num_labels)
    if fresh and config.model.load_from is not None:
        rows = read_head_rows(config.model.head_rows) if config.model.head_rows is not None else None
        report = load_weights(model, config.model.load_from, mode="finetune", head_rows=rows)
        if accelerator.is_main_process:
            errors.print(report.summary(), markup=False, highlight=False, soft_wrap=True)
    on_cpu = accelerator.device.type == "cpu"
    if on_cpu if config.train.channels_last is None else config.train.channels_last:
        use_channels_last(model)
    if config.train.sync_bn and accelerator.num_processes > 1:
        if on_cpu:
            raise ConfigError("train.sync_bn = true needs GPUs; leave it out on CPUs")
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    ema = averaged(model, config.train.ema) if config.train.ema is not None else None
    if config.train.compile:
        model.compile()

    lr = optim.lr
    if optim.auto_scale_lr:
        assert optim.base_batch is not None
        lr = scaled_lr(
            lr,
            batch_size=config.train.batch_size,
            num_processes=accelerator.num_processes,
            accumulate=optim.accumulate,
            base_batch=optim.base_batch,
        )
    optimizer = make_optimizer(
        model, name=optim.name, lr=lr, weight_decay=optim.weight_decay, options=optim.options, rule=optim.rule
    )
    rates = Schedule(
        epochs=config.train.epochs,
        steps_per_epoch=optimizer_steps(len(loader), optim.accumulate),
        min_factor=schedule.min_lr / optim.lr,
        **schedule.model_dump(exclude={"min_lr"}),
    )
    settings = LoopSettings(
        epochs=config.train.epochs,
        accumulate=optim.accumulate,
        clip_norm=optim.clip_norm,
        max_steps=config.train.max_steps,
        val_every=config.train.val_every,
        checkpoint_every_epochs=config.train.checkpoint_every_epochs,
        checkpoint_every_steps=config.train.checkpoint_every_steps,
        log_every=config.train.log_every,
        main_metric=metric,
        multi_label=multi_label,
        seed=config.seed,
        max_skipped=data.max_skipped,
    )
    precise_bn = None
    if config.train.precise_bn is not None:
        measuring, count = training_loader(config, training, accelerator), config.train.precise_bn
        precise_bn = PreciseBN(model, measuring, count, accelerator=accelerator, seed=config.seed)
    mixing, rank = data.train.mixing, accelerator.process_index
    mixer = None if mixing is None else BatchMixer(mixing, num_classes=num_classes, seed=config.seed, rank=rank)
    return Loop(
        settings,
        accelerator=accelerator,
        run=run,
        model=model,
        optimizer=optimizer,
        schedule=rates,
        loader=loader,
        val_loader=val_loader,
        ema=ema,
        stop=stop,
        mixer=mixer,
        step=distill_step(model, config.distill, accelerator) if config.distill is not None else None,
        precise_bn=precise_bn,
    )


def _class_list(config: Experiment, info: DatasetInfo) -> ClassList:
    """The data's classes; a model of more classes has numbers for the rest."""
    count = config.model.num_classes or len(info.classes)
    rest = (f"class {number}" for number in range(len(info.classes), count))
    return ClassList((*info.classes, *rest), info.multi_label)


def _val_loader(
    config: Experiment,
    classes: Sequence[str],
    accelerator: Accelerator,
    opened: dict[str, PackedDataset],
    *,
    num_classes: int,
) -> Loader | None:
    if not config.train.val_every:
        return None
    split = config.data.val_split
    dataset, indices = open_evaluation(config.data, split, classes, opened)
    check_labels(dataset, indices, split=split, num_classes=num_classes)
    return evaluation_loader(config, dataset, indices, accelerator, split=split, pipeline=config.data.val)


def _headline(config: Experiment, loop: Loop, start: Path | None) -> str:
    millions = sum(p.numel() for p in loop.model.parameters()) / 1e6
    rates = loop.schedule
    begin = f"resumes from {start}" if start is not None else "starts"
    return (
        f"{loop.run.path} {begin}: {config.model.name}, {millions:.2f} M parameters, "
        f"{loop.accelerator.num_processes} x "
        f"{loop.accelerator.device.type}, {config.train.precision}; "
        f"{loop.loader.num_samples} clips and {rates.steps_per_epoch} steps per epoch, "
        f"{config.train.epochs} epochs, lr {max(loop.base_rates):.4g}"
    )
