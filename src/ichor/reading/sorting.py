"""The files of one input by what they hold, and what is said of those that are left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from ichor.errors import RefusedInput
from ichor.notices import Notice, notice
from ichor.reading.dicom import is_dicom
from ichor.reading.files import InputFile, announce
from ichor.reading.forms import START_BYTES, Form, known_form
from ichor.reading.gzipped import is_gzip
from ichor.reading.nifti import NiftiFile, nifti_part, pair_up
from ichor.reading.picture import is_picture

__all__ = ["SortedFiles", "counted", "nothing_to_read", "sort_files"]


@dataclass
class SortedFiles:
    """The files of one input by what they are.

    Attributes
    ----------
    dicom, volumes, pictures
        What can be read.
    archives
        Within the input; an archive is unpacked only where it is the input itself.
    forms
        Files of known forms that are not read.
    other
        Anything else.
    left_out
        In words, what was not even opened.
    """

    dicom: list[InputFile] = field(default_factory=list)
    volumes: list[NiftiFile] = field(default_factory=list)
    pictures: list[InputFile] = field(default_factory=list)
    archives: list[InputFile] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)
    other: list[InputFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def single(self) -> bool:
        """Whether the input is one file, by its own name or alone in an archive."""
        groups = (self.dicom, self.volumes, self.pictures, self.archives, self.forms, self.other)
        return sum(len(group) for group in groups) == 1 and not self.left_out

    def notices(self) -> tuple[Notice, ...]:
        """Say what of the input is in none of its results."""
        out = []
        n_other = len(self.other) + len(self.forms)
        if n_other:
            text = "1 file is no image" if n_other == 1 else f"{n_other} files are no images"
            kinds = f" that ichor reads ({_kinds(self.forms)})" if self.forms else ""
            out.append(notice("not_an_image", f"{text}{kinds}; left out."))
        left_out = list(self.left_out)
        if self.archives:
            left_out.append(counted(len(self.archives), "archive"))
        # Beside DICOM or volumes, pictures are logos and captures, not exams.
        if self.pictures and (self.dicom or self.volumes):
            left_out.append(counted(len(self.pictures), "picture"))
        if left_out:
            out.append(notice("file_left_out", f"Left out: {', '.join(left_out)}."))
        return tuple(out)


def sort_files(files: list[InputFile], left_out: list[str]) -> SortedFiles:
    """Sort files by their first bytes, and by their names where those say more.

    Parameters
    ----------
    files
        Of one input.
    left_out
        In words, what of the input was left out before.
    """
    groups = SortedFiles(left_out=list(left_out))
    parts = []
    closed = 0
    for file in files:
        announce(None)
        try:
            with file.path.open("rb") as stream:
                start = stream.read(START_BYTES)
        except OSError:
            closed += 1
            continue
        if is_dicom(file.path):
            groups.dicom.append(file)
        elif (part := nifti_part(file)) is not None:
            parts.append((file, part))
        elif form := known_form(start):
            groups.forms.append(form)
        elif is_picture(file.name, start):
            groups.pictures.append(file)
        elif start.startswith(b"PK\x03\x04") or start[257:262] == b"ustar" or is_gzip(start):
            groups.archives.append(file)
        else:
            groups.other.append(file)
    groups.volumes, unpaired = pair_up(parts)
    groups.other += unpaired
    if closed:
        groups.left_out.append(counted(closed, "file that cannot be opened", "files that cannot be opened"))
    return groups


def nothing_to_read(name: str, files: SortedFiles) -> RefusedInput:
    """Make the refusal of an input in which nothing can be read."""
    if files.forms and (files.single or not files.archives):
        found, remedy = files.forms[0].what, files.forms[0].remedy
        if not files.single:
            found = f"{counted(len(files.forms), 'file')} that ichor does not read ({_kinds(files.forms)})"
    elif files.archives:
        found, remedy = "archives within the input", "unpack them, or give each by its own name"
    elif files.single and files.other and files.other[0].path.stat().st_size == 0:
        found, remedy = "an empty file", "send it again from its source"
    elif files.single:
        found = "a file that is neither DICOM, NIfTI nor a picture"
        remedy = "give the study in one of these forms"
    elif files.other or files.left_out:
        n_other = [counted(len(files.other), "file that is no image", "files that are no images")]
        found, remedy = ", ".join((n_other if files.other else []) + files.left_out), "check the path"
    else:
        found, remedy = "nothing in it", "check the path"
    return RefusedInput(
        name, "no_image", found=found, expected="DICOM, NIfTI, or a picture of a slice", remedy=remedy
    )


def counted(n: int, one: str, many: str = "") -> str:
    """Say a number of things: ``1 file``, ``2 files``."""
    return f"1 {one}" if n == 1 else f"{n} {many or one + 's'}"


def _kinds(forms: list[Form]) -> str:
    return ", ".join(sorted({form.what for form in forms}))
