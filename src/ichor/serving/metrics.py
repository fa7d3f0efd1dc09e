"""Prometheus metrics: counts and times; no label comes from outside."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ichor.jobs.supervisor import Supervisor
from ichor.serving.worklist import Worklist

__all__ = ["Metrics"]


class Metrics:
    """The metrics of one server.

    Parameters
    ----------
    worklist, supervisor
        Asked when somebody asks for the metrics.
    """

    def __init__(self, worklist: Worklist, supervisor: Supervisor) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ichor_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "ichor_http_request_seconds", "Time to answer a request", ["route"], registry=self.registry
        )
        self.study_seconds = Histogram(
            "ichor_study_seconds",
            "From being taken up until done",
            buckets=(0.5, 1, 2, 3, 4, 6, 8, 12, 20, 40, 80, 160, 320),
            registry=self.registry,
        )
        self.uploaded = Counter("ichor_uploaded_bytes", "Bytes received in uploads", registry=self.registry)
        supervisor.on_done = self.study_seconds.observe
        self.registry.register(_Now(worklist, supervisor))

    def text(self) -> bytes:
        """Return them in Prometheus' text form."""
        return generate_latest(self.registry)


class _Now(Collector):
    """What is counted when it is asked for."""

    def __init__(self, worklist: Worklist, supervisor: Supervisor) -> None:
        self.worklist = worklist
        self.supervisor = supervisor

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        studies = GaugeMetricFamily("ichor_studies", "Rows of the worklist", labels=["state"])
        for state, n in self.worklist.counts().items():
            studies.add_metric([state], n)
        yield studies
        yield GaugeMetricFamily(
            "ichor_queue_oldest_seconds",
            "Wait of the study at the head of the queue",
            self.worklist.oldest_waiting_s(),
        )
        yield GaugeMetricFamily(
            "ichor_worker_up", "Whether the worker takes jobs", float(self.supervisor.child.is_ready)
        )
        yield GaugeMetricFamily(
            "ichor_worker_deaths", "Workers that died since the start", self.supervisor.child.restarts
        )
