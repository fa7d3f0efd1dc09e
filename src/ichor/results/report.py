"""The structured report (TID 1500): the exam, its subtypes, a group a region, and sentences for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from ichor.findings import Region
from ichor.labels import SUBTYPES
from ichor.reading.originals import Instance
from ichor.reporting.words import names_subtype, number_ranges, refusals
from ichor.results.case import Case
from ichor.results.codes import code, label_code, notice_code, site_code
from ichor.results.identity import MANUFACTURER
from ichor.results.kinds import KINDS
from ichor.results.references import as_evidence
from ichor.results.segmentation import segment_label, tracking_uid
from ichor.results.sentences import LIMITS, NOTHING_ASSESSED, call, conclusion, inputs_notices, model_sentence
from ichor.results.sides import Side, region_sides

if TYPE_CHECKING:
    from highdicom.sr import MeasurementsAndQualitativeEvaluations

__all__ = [
    "device_context",
    "evidence_stubs",
    "frames_by_instance",
    "measurement",
    "measurement_report",
    "report",
]


def report(case: Case, sop_uid: str) -> Dataset:
    """Make the report of a case, also of one that was not assessed.

    Parameters
    ----------
    case
        Its regions refer to the segmentation where one is made beside, else to their slices.
    sop_uid
        Of the object.

    Returns
    -------
    pydicom.Dataset
        Not finished: see :func:`ichor.results.finishing.finished`.
    """
    if call(case) == "not_attempted":
        groups: list[Any] = [_refused_group(case)]
    else:
        sides = region_sides(case.exam, case.mask, len(case.findings.regions))
        regions = enumerate(zip(case.findings.regions, sides, strict=True), start=1)
        groups = [
            _exam_group(case),
            *(_subtype_group(case, label.name, label.display) for label in SUBTYPES),
            *(_region_group(case, number, region, side) for number, (region, side) in regions),
        ]
    return measurement_report(case, sop_uid, groups)


def measurement_report(case: Case, sop_uid: str, groups: Sequence[Any]) -> Dataset:
    """Put measurement groups into a report with its observer and its evidence.

    Parameters
    ----------
    case
        Whose images, and whose segmentation where there is one, are the evidence.
    sop_uid
        Of the object.
    groups
        Of highdicom.
    """
    from highdicom.sr import (
        ComprehensiveSR,
        LanguageOfContentItemAndDescendants,
        MeasurementReport,
        ObservationContext,
    )

    identity = case.identity
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device_context(case)),
        procedure_reported=code("procedure" if case.findings.assessable else "imaging"),
        imaging_measurements=groups,
        title=code("report"),
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(_english()),
    )
    evidence = [*case.originals.instances, *_segmentation_instance(case)]
    made = ComprehensiveSR(
        evidence=evidence_stubs(evidence, identity.study_uid),
        content=content,
        series_instance_uid=identity.uid("series", "sr"),
        series_number=1,
        sop_instance_uid=sop_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    as_evidence(made, evidence, identity.study_uid)
    return made


def device_context(case: Case) -> Any:
    """Name the model as the observer."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
    from pydicom.sr.codedict import codes

    identity = case.identity
    device = DeviceObserverIdentifyingAttributes(
        uid=identity.uid("device"),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=f"{identity.bundle_name} {identity.bundle_version}"[:64],
        serial_number=identity.bundle_sha256,
    )
    return ObserverContext(codes.DCM.Device, device)


def frames_by_instance(instances: Iterable[Instance]) -> list[tuple[Instance, list[int] | None]]:
    """Bring the frames of one object together: ``(instance, frames)``, frames None of an object with one."""
    found: dict[str, tuple[Instance, list[int] | None]] = {}
    for instance in instances:
        _, frames = found.setdefault(instance.sop_uid, (instance, None if instance.frame is None else []))
        if frames is not None and instance.frame is not None:
            frames.append(instance.frame)
    return list(found.values())


def _exam_group(case: Case) -> Any:
    findings = case.findings
    measurements = [*_probabilities(findings.probabilities.any, findings.thresholds.any)]
    if (
        findings.regions and findings.volume_ml is not None
    ):  # 0 mL would be read as a finding that there is none
        measurements.append(measurement("volume", findings.volume_ml, "millilitre"))
    sentences = [*conclusion(case), *LIMITS, *inputs_notices(case), model_sentence(case)]
    return _group(case, "Exam", "any", measurements, call(case), sentences)


def _subtype_group(case: Case, name: str, display: str) -> Any:
    findings = case.findings
    p, threshold = getattr(findings.probabilities, name), getattr(findings.thresholds, name)
    found = "suspected" if getattr(findings.positive, name) else "not_detected"
    if found == "not_detected" and call(case) == "undetermined":
        found = "undetermined"
    return _group(case, f"Exam: {display.lower()}", name, _probabilities(p, threshold), found, ())


def _refused_group(case: Case) -> Any:
    """Say that nothing was assessed, and why: by code and in words."""
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, QualitativeEvaluation, TrackingIdentifier

    reasons = [
        QualitativeEvaluation(code("finding"), notice_code(warning.code))
        for warning in refusals(case.findings)
    ]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(case.identity.uid("exam"), "Exam"),
        algorithm_id=_algorithm(case),
        qualitative_evaluations=[
            QualitativeEvaluation(code("summary"), code("not_attempted")),
            *reasons,
        ],
    )
    sentences = [*conclusion(case), NOTHING_ASSESSED, LIMITS[0], *inputs_notices(case), model_sentence(case)]
    return _with_sentences(group, sentences)


def _group(
    case: Case, tracking: str, label: str, measurements: Sequence[Any], found: str, sentences: Iterable[str]
) -> Any:
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        TrackingIdentifier,
    )

    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(case.identity.uid("tracking", tracking), tracking),
        finding_category=code("category"),
        finding_type=label_code(label),
        finding_sites=[FindingSite(code(site_code(label)))],
        algorithm_id=_algorithm(case),
        measurements=measurements,
        qualitative_evaluations=[QualitativeEvaluation(label_code(label), code(found))],
    )
    return _with_sentences(group, sentences)


def _region_group(case: Case, number: int, region: Region, side: Side | None) -> Any:
    """Measurements of one region, on its segment where there is a segmentation, else on its slices."""
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        SourceImageForMeasurementGroup,
        SourceImageForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    named = region.label if names_subtype(region) else "any"
    # Of a region whose subtype is not named, the number would be taken for the probability of blood.
    measurements = (
        _probabilities(region.probabilities.get(region.label), None) if names_subtype(region) else []
    )
    if region.volume_ml is not None:
        measurements.append(measurement("volume", region.volume_ml, "millilitre"))
    common: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            tracking_uid(case.identity, number), segment_label(number, region)
        ),
        "finding_category": code("category"),
        "finding_type": label_code(named),
        "finding_sites": [FindingSite(code(site_code(named)), code(side) if side else None)],
        "algorithm_id": _algorithm(case),
        "measurements": measurements,
    }
    images = frames_by_instance(case.originals.instances[k] for k in region.slices)
    references = [(i.sop_class, i.sop_uid, frames) for i, frames in images]
    if case.segmentation_uid:
        segment = ReferencedSegment(
            sop_class_uid=KINDS["seg"].sop_class,
            sop_instance_uid=case.segmentation_uid,
            segment_number=number,
            source_images=[SourceImageForSegmentation(*reference) for reference in references],
        )
        group: Any = VolumetricROIMeasurementsAndQualitativeEvaluations(**common, referenced_segment=segment)
    else:
        sources = [SourceImageForMeasurementGroup(*reference) for reference in references]
        group = MeasurementsAndQualitativeEvaluations(**common, source_images=sources)
    where = f"Slices, counted from the base of the skull: {number_ranges(region.slices)} of {case.findings.n_slices}."
    return _with_sentences(group, [_region_subtypes(region), where])


def _region_subtypes(region: Region) -> str:
    ordered = sorted(region.probabilities.items(), key=lambda pair: -pair[1])
    return (
        "Probabilities of the region's subtype: " + ", ".join(f"{name} {p:.2f}" for name, p in ordered) + "."
    )


def _probabilities(p: float | None, threshold: float | None) -> list[Any]:
    pairs = (("probability", p), ("threshold", threshold))
    return [measurement(name, value, "ratio") for name, value in pairs if value is not None]


def measurement(name: str, value: float, unit: str) -> Any:
    """Return one number, by the keys of its meaning and its unit in :data:`~ichor.results.codes.CODES`."""
    from highdicom.sr import Measurement

    return Measurement(code(name), round(float(value), 4), code(unit))


def _algorithm(case: Case) -> Any:
    from highdicom.sr import AlgorithmIdentification

    identity = case.identity
    return AlgorithmIdentification(
        name=f"ichor, model {identity.bundle_name}"[:64],
        version=identity.bundle_version or "0",
        parameters=[f"sha256 {identity.bundle_sha256}"],
        family=code("algorithm"),
        manufacturer=MANUFACTURER,
    )


def _with_sentences(group: MeasurementsAndQualitativeEvaluations, sentences: Iterable[str]) -> Any:
    from highdicom.sr import TextContentItem

    for sentence in sentences:
        group[0].ContentSequence.append(TextContentItem(code("comment"), sentence, "CONTAINS"))
    return group


def _segmentation_instance(case: Case) -> list[Instance]:
    if not case.segmentation_uid:
        return []
    identity, kind = case.identity, KINDS["seg"]
    series = identity.uid("series", kind.name)
    return [Instance(kind.sop_class, case.segmentation_uid, series, identity.study_uid)]


def evidence_stubs(evidence: Iterable[Instance], study_uid: str) -> list[Dataset]:
    """Make data sets with what a report takes of its evidence, and nothing of the patient; its study's come first."""
    stubs = []
    for instance, _ in frames_by_instance(evidence):
        stub = Dataset()
        stub.SOPClassUID, stub.SOPInstanceUID = instance.sop_class, instance.sop_uid
        stub.StudyInstanceUID, stub.SeriesInstanceUID = instance.study_uid, instance.series_uid
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
            setattr(stub, keyword, None)
        for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
            setattr(stub, keyword, None)
        stubs.append(stub)
    return sorted(stubs, key=lambda stub: stub.StudyInstanceUID != study_uid)


def _english() -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept("en", "RFC5646", "English")
