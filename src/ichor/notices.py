"""Every condition of an input that ichor speaks about: its code, its meaning, and the decision taken.

A *notice* is one such condition met on one input. The table below is the only place where a code
is defined; ``docs/reference/notices.md`` is printed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CAUTIONS", "NOTICES", "Decision", "Notice", "NoticeKind", "notice"]

Decision = Literal["go_on", "leave_out", "refuse"]


@dataclass(frozen=True)
class NoticeKind:
    """A condition that an input can show.

    Attributes
    ----------
    code
        Stable key, ``snake_case``.
    decision
        ``go_on``: the exam is read and the notice is shown. ``leave_out``: this file or series is not
        used, the rest is. ``refuse``: the input is not assessed (``assessable: false``).
    meaning
        What is the matter and why the decision was taken, in a sentence or two.
    """

    code: str
    decision: Decision
    meaning: str


@dataclass(frozen=True)
class Notice:
    """A condition met on one input.

    Attributes
    ----------
    code
        A key of :data:`NOTICES`.
    message
        A plain sentence with the figures of this input; nothing of the patient in it.
    slices
        Indices (0-based, sorted order) of the slices concerned, or None where it concerns the whole.
    """

    code: str
    message: str
    slices: tuple[int, ...] | None = None

    @property
    def decision(self) -> Decision:
        """The decision written down for this code."""
        return NOTICES[self.code].decision


def notice(code: str, message: str, slices: tuple[int, ...] | list[int] | None = None) -> Notice:
    """Make a notice, refusing a code that the table does not have."""
    if code not in NOTICES:
        raise KeyError(f"notice code {code!r} is not in ichor.notices.NOTICES")
    return Notice(code, message, None if slices is None else tuple(int(i) for i in slices))


NOTICES: dict[str, NoticeKind] = {
    kind.code: kind
    for kind in (
        # -- files -------------------------------------------------------------------------------
        NoticeKind("not_found", "refuse", "The path does not exist or cannot be opened."),
        NoticeKind(
            "not_an_image", "leave_out", "A file that is no DICOM, NIfTI or picture; a folder may hold any."
        ),
        NoticeKind(
            "file_left_out",
            "leave_out",
            "A link out of the folder, an archive within the input, a picture beside a study, or a file that "
            "cannot be opened.",
        ),
        NoticeKind("unreadable", "refuse", "The file is broken: its header or its pixels cannot be decoded."),
        NoticeKind(
            "slice_unreadable",
            "leave_out",
            "One file of a series, or one picture of a stack, cannot be read; the other slices are.",
        ),
        NoticeKind("limit_exceeded", "refuse", "Larger, deeper, longer or slower than the limits allow."),
        NoticeKind(
            "decoder_failed",
            "refuse",
            "The process that read it was ended by a fault of a decoder; other files and inputs are read by "
            "another.",
        ),
        NoticeKind(
            "limit_memory",
            "refuse",
            "Reading it took more memory than the input's size explains; the process that read it was ended.",
        ),
        NoticeKind(
            "limit_time",
            "refuse",
            "Reading it took longer than the limits allow, without an end in sight; the process that read it was "
            "ended.",
        ),
        NoticeKind(
            "unsafe_archive",
            "refuse",
            "An archive whose entries leave its folder, are links, or unpack to far more than it holds.",
        ),
        NoticeKind("no_image", "refuse", "Nothing that could be assessed was found in the input."),
        # -- choosing the series -----------------------------------------------------------------
        NoticeKind("series_chosen", "go_on", "Several series were present; says which was taken and why."),
        NoticeKind("series_left_out", "leave_out", "A series of the study that was not taken; says why."),
        NoticeKind(
            "own_result",
            "leave_out",
            "A result that ichor itself wrote into the study (segmentation, report, page, key images).",
        ),
        NoticeKind("series_not_found", "refuse", "The series asked for with --series is not in the input."),
        NoticeKind("modality_not_ct", "refuse", "MR, a dose report, or anything but CT."),
        NoticeKind("localizer", "leave_out", "A scout view; not a cross-section of the head."),
        NoticeKind(
            "secondary_capture",
            "leave_out",
            "A screen capture or dose sheet stored as DICOM; it has no Hounsfield units.",
        ),
        NoticeKind(
            "secondary_with_hounsfield",
            "go_on",
            "A CT series stored under the secondary capture class, with positions, orientation, spacing and rescale.",
        ),
        NoticeKind(
            "body_part_not_head",
            "refuse",
            "The pixels show another part of the body, or the header names one and the pixels do not show a head.",
        ),
        NoticeKind(
            "body_part_contradicted",
            "go_on",
            "The header names another part of the body, but the pixels show a head; headers are often wrong there.",
        ),
        NoticeKind(
            "uids_joined",
            "go_on",
            "Slices with UIDs or a patient of their own each, as de-identification leaves them, were joined.",
        ),
        NoticeKind(
            "contrast", "go_on", "The header names a contrast agent; the model knows non-contrast exams only."
        ),
        NoticeKind(
            "bone_kernel",
            "go_on",
            "Only a sharp (bone) reconstruction is present; noise is higher than the model knows.",
        ),
        # -- Hounsfield units --------------------------------------------------------------------
        NoticeKind(
            "no_hounsfield",
            "refuse",
            "The pixels have no Hounsfield scale (no rescale, or values that cannot be HU).",
        ),
        NoticeKind(
            "rescale_assumed",
            "go_on",
            "Rescale slope or intercept was absent; the values themselves show which applies.",
        ),
        NoticeKind(
            "pixel_layout_contradicted",
            "go_on",
            "Signedness or stored bits in the header contradict the values, which wrap round; they were read as the "
            "values show.",
        ),
        NoticeKind(
            "wrapped_intercept",
            "go_on",
            "12-bit unsigned pixels with a wrapped intercept; the offset was restored.",
        ),
        NoticeKind(
            "rescale_varies",
            "go_on",
            "Rescale differs between slices; each slice was converted with its own.",
        ),
        NoticeKind("padding_replaced", "go_on", "Padding pixels were set to air (-1024 HU)."),
        NoticeKind(
            "monochrome1",
            "go_on",
            "The pixels are stored inverted for display; Hounsfield units are not affected.",
        ),
        NoticeKind("lossy_compression", "go_on", "The pixels were stored with lossy compression."),
        # -- geometry ----------------------------------------------------------------------------
        NoticeKind(
            "mixed_patients",
            "go_on",
            "Files of several patients lie in one input; each study is assessed alone.",
        ),
        NoticeKind(
            "mixed_size",
            "leave_out",
            "Slices of another pixel size or matrix in the series; the larger group was taken.",
        ),
        NoticeKind(
            "mixed_orientation",
            "leave_out",
            "Slices of another orientation in the series; the larger group was taken.",
        ),
        NoticeKind(
            "gantry_tilt",
            "go_on",
            "The slices are sheared against their normal; positions are used, nothing is resampled.",
        ),
        NoticeKind(
            "oblique",
            "go_on",
            "The slices are oblique to the patient's axes, but still axial within 45 degrees.",
        ),
        NoticeKind(
            "orientation_flipped",
            "go_on",
            "Rows or columns run the other way; they are turned for the model and turned back.",
        ),
        NoticeKind(
            "orientation_not_axial", "refuse", "A coronal or sagittal series; the model reads axial slices."
        ),
        NoticeKind(
            "orientation_missing", "go_on", "No orientation in the header; a standard axial one is assumed."
        ),
        NoticeKind(
            "position_missing",
            "go_on",
            "No positions in the header; slice location or instance number gives the order.",
        ),
        NoticeKind(
            "order_unknown",
            "refuse",
            "Neither position, location nor number says how the slices follow each other.",
        ),
        NoticeKind("spacing_missing", "go_on", "No pixel spacing: volumes and lengths cannot be given."),
        NoticeKind(
            "spacing_uneven",
            "go_on",
            "The gaps between slices differ; each slice keeps its own position and share of volume.",
        ),
        NoticeKind(
            "slices_missing",
            "go_on",
            "Gaps of a whole multiple of the step: slices seem to be missing there.",
        ),
        NoticeKind(
            "positions_duplicate",
            "leave_out",
            "Two slices at one position; the first by instance number was kept.",
        ),
        NoticeKind("thickness_mixed", "go_on", "Slice thickness differs within the series."),
        NoticeKind("slices_thick", "go_on", "Slices thicker than 7 mm; small bleeds may be averaged away."),
        NoticeKind(
            "too_few_slices", "refuse", "Too few slices, or too little of the head, for a verdict on an exam."
        ),
        NoticeKind(
            "single_slice", "go_on", "One slice was given by name; the verdict is on that slice alone."
        ),
        # -- pictures ----------------------------------------------------------------------------
        NoticeKind(
            "picture",
            "go_on",
            "A picture has no Hounsfield units and no scale: its greys are turned into HU by a window; no volume.",
        ),
        NoticeKind(
            "picture_window",
            "go_on",
            "Which window a picture was taken to be in: the brain window (level 40, width 80), or the one that was "
            "measured from its greys.",
        ),
        NoticeKind(
            "picture_window_unknown",
            "go_on",
            "The window of the picture cannot be measured (inverted, gamma, a curve, too little to see), or may be a "
            "bone window: a negative result means nothing.",
        ),
        NoticeKind(
            "picture_window_too_wide",
            "refuse",
            "The picture is in a bone window, or nearly so: blood and brain have the same grey.",
        ),
        NoticeKind("picture_cropped", "go_on", "Borders or text around the slice were cut away."),
        NoticeKind(
            "picture_inverted", "go_on", "The picture looked inverted (bone dark) and was turned back."
        ),
        NoticeKind(
            "picture_several",
            "go_on",
            "Several slices in one picture, as on a sheet of film; each is found and assessed alone.",
        ),
        NoticeKind(
            "picture_photograph",
            "go_on",
            "A photograph of a screen or film: its tint, haze and uneven light were removed as far as air and "
            "bone show them. Of all inputs it is the weakest.",
        ),
        NoticeKind(
            "picture_flattened",
            "go_on",
            "A screen or film was photographed from the side; it was flattened by its four sides.",
        ),
        NoticeKind("picture_too_small", "refuse", "Fewer pixels than a slice can be assessed on."),
        NoticeKind("picture_multipage", "go_on", "A file of several pages; each is assessed alone."),
        NoticeKind(
            "picture_stack",
            "go_on",
            "Pictures that were given as one exam (--as-exam): how they were put together.",
        ),
        NoticeKind(
            "pictures_no_stack",
            "refuse",
            "Pictures that were given as one exam and cannot be its slices: of several sizes, several slices in one, "
            "or photographs seen from the side.",
        ),
        # -- quality -----------------------------------------------------------------------------
        NoticeKind("not_a_head", "refuse", "The image does not look like an axial head CT."),
        NoticeKind(
            "no_brain",
            "go_on",
            "A single slice of a head that shows hardly any brain (the face, the neck, the skull at the vertex): its "
            "low probability says nothing of the patient.",
        ),
        NoticeKind(
            "far_from_brain",
            "go_on",
            "Slices far from any that shows brain (the neck, air above the head) were not run through the network; "
            "they stand with the lowest scores of those that were.",
        ),
        NoticeKind("head_clipped", "go_on", "The head is cut by the edge of the image."),
        NoticeKind(
            "nothing_outlined",
            "go_on",
            "Hemorrhage is suspected, but no region is outlined; says why. The page and the report show a heat map "
            "of what the network marked, which is not an outline.",
        ),
        NoticeKind(
            "model_does_not_locate",
            "go_on",
            "The model scores slices and draws no map: there are no regions, no volume and no mask.",
        ),
        NoticeKind(
            "grad_cam",
            "go_on",
            "Hemorrhage is suspected by a model that draws no map; the page and the report show Grad-CAM as a heat "
            "map, which is not an outline.",
        ),
        NoticeKind(
            "other_engine",
            "go_on",
            "The model was run by OpenVINO, and in bf16 where the processor has it: logits differ by rounding from "
            "those that its figures were measured with.",
        ),
        NoticeKind(
            "combined_models",
            "go_on",
            "Several models were combined (A+B): the mean of their calibrated logits; the thresholds of each were "
            "measured for it alone.",
        ),
        NoticeKind(
            "not_calibrated",
            "go_on",
            "The model was not calibrated on any exam here: its scores are no probabilities, and nothing is called.",
        ),
        NoticeKind("metal", "go_on", "Heavy metal; streaks may hide or imitate blood."),
        NoticeKind(
            "motion", "go_on", "Neighbouring slices do not follow each other; the patient may have moved."
        ),
        NoticeKind(
            "unlike_training",
            "go_on",
            "In slices, size, density, noise or sharpness the exam is unlike those that the model was trained on: "
            "its measured figures may not hold.",
        ),
        # -- DICOM results -----------------------------------------------------------------------
        NoticeKind(
            "header_repaired",
            "go_on",
            "An attribute that DICOM results need is missing or invalid in the source's header; says what stands for "
            "it in the results. The source is not changed.",
        ),
        NoticeKind(
            "result_left_out",
            "go_on",
            "A DICOM result that was asked for was not written; says which and why.",
        ),
    )
}
"""All codes. A new condition is a new line here."""

CAUTIONS = ("contrast", "metal", "unlike_training", "picture_window_unknown")
"""Codes of notices that put a whole result in doubt: they stand beside the verdict, not among the notes."""
