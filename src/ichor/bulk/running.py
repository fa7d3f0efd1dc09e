"""A run from what was asked for: source, output, pool, driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ichor
from ichor.bulk.assessing import Settings
from ichor.bulk.driver import Driver, Progress, Show
from ichor.bulk.local_pool import LocalPool, usable_cores
from ichor.bulk.opening import open_source
from ichor.bulk.output import Output
from ichor.bulk.pools import Pool
from ichor.bulk.targets import open_target
from ichor.detecting import Options
from ichor.detecting.bundle import load_bundle
from ichor.detecting.sessions import asked_engine
from ichor.errors import UsageError
from ichor.reading.limits import Limits

__all__ = ["Plan", "run"]


@dataclass(frozen=True)
class Plan:
    """What is to be done; the options of ``ichor bulk``.

    Attributes
    ----------
    root
        Address of the source.
    output
        Folder for the rows.
    jobs
        Processes; None for one a core.
    bundle, threshold, sensitivity
        As of :class:`~ichor.detecting.Detector` and :class:`~ichor.detecting.Options`.
    limits
        Overrides of the limits of reading.
    kinds
        DICOM objects to make.
    objects
        Where they go, see :func:`~ichor.bulk.targets.open_target`; None for the output's name with ``-objects``.
    retry_failed
        Assess again what failed before.
    address, token
        Of a Ray cluster; None for processes of this machine.
    engine
        As of :class:`~ichor.detecting.Detector`.
    """

    root: str
    output: Path
    jobs: int | None = None
    bundle: str = "default"
    threshold: float | None = None
    sensitivity: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    objects: str | None = None
    retry_failed: bool = False
    address: str | None = None
    token: Path | None = None
    engine: str = "auto"

    @property
    def target(self) -> str:
        """Where DICOM objects go; empty where none are made."""
        if not self.kinds:
            return ""
        if self.objects is not None and "://" in self.objects:
            return self.objects
        beside = self.output.with_name(f"{self.output.absolute().name}-objects")
        return str(Path(self.objects or beside).absolute())


def run(plan: Plan, show: Show) -> tuple[Progress, dict[str, int]]:
    """Assess everything that has no row yet.

    Returns
    -------
    tuple
        How far it came, and files that were left out by what they are.

    Raises
    ------
    UsageError
        Where something that was asked for cannot be.
    KeyboardInterrupt
        As it came; what was done until then is written.
    """
    if plan.jobs is not None and plan.jobs < 1:
        raise UsageError(f"--jobs: found {plan.jobs}; expected 1 or more")
    limits = Limits.from_environment(**plan.limits)
    bundle = load_bundle(plan.bundle)
    options = Options(threshold=plan.threshold, sensitivity=plan.sensitivity)
    options.thresholds(bundle, "exam")
    engine = asked_engine(plan.engine)
    output = Output(plan.output)
    source = open_source(plan.root, skipped=plan.output, limits=limits)
    settings = Settings(
        source=source.address,
        bundle=str(bundle.folder),
        threshold=plan.threshold,
        sensitivity=plan.sensitivity,
        limits=dict(plan.limits),
        kinds=plan.kinds,
        objects=plan.target,
        engine=engine,
    )
    if plan.kinds:
        open_target(plan.target).check()
    with output.lock():
        output.begin(
            {
                "source": source.address,
                "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
                "reference_ranges": {
                    name: [ends.low, ends.high]
                    for name, ends in (bundle.manifest.input_profile or {}).items()
                },
                "threshold": plan.threshold,
                "sensitivity": plan.sensitivity,
                "limits": dict(plan.limits),
                "engine": engine,
                "write": list(plan.kinds),
                "objects": plan.objects if plan.kinds else None,
                "version": ichor.__version__,
            }
        )
        pool = _pool(plan, settings, limits)
        driver = Driver(source, pool, output, bundle.sha256, retry_failed=plan.retry_failed)
        progress = driver.run(show)
    return progress, source.left_out


def _pool(plan: Plan, settings: Settings, limits: Limits) -> Pool:
    if plan.address is not None:
        from ichor.bulk.ray_pool import RayPool

        return RayPool(plan.address, settings, plan.token)
    return LocalPool(settings, plan.jobs or usable_cores(), limits)
