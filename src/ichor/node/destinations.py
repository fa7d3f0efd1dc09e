"""Where results go, as the configuration has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

__all__ = [
    "AeTitle",
    "Destination",
    "DicomDestination",
    "FhirDestination",
    "Hl7Destination",
    "Model",
    "Name",
    "ObjectDestination",
    "Port",
    "Seconds",
    "StowDestination",
    "Tls",
    "UpsDestination",
    "Url",
    "WebhookDestination",
]

AeTitle = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16, pattern=r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]*)$"),
]
"""One to sixteen printable characters without a backslash (PS3.5 6.2)."""
Kind = Literal["seg", "sr", "sc", "ko", "pdf", "sr-planar"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")]


class Model(BaseModel):
    """A part of the configuration: nothing unknown, nothing changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(Model):
    """Mutual TLS, 1.2 or later (PEM files).

    Attributes
    ----------
    certificate, key
        Ours.
    authority
        Who must have signed the peer's certificate.
    """

    certificate: Path
    key: Path
    authority: Path

    @model_validator(mode="after")
    def _exists(self) -> Self:
        for path in (self.certificate, self.key, self.authority):
            if not path.is_file():
                raise ValueError(f"found no file {path}; expected PEM")
        return self


class _Destination(Model):
    name: Name
    timeout_seconds: Seconds = 30.0


class DicomDestination(_Destination):
    """An archive or a viewer: objects go by C-STORE, and it is asked to commit itself.

    Attributes
    ----------
    name
        By which rules, logs and metrics name it.
    timeout_seconds
        For each answer.
    type
        Of the destination.
    host, port, ae_title
        Where it is, and its title.
    kinds
        Of results; an old archive may take `sc` alone. See [DICOM results](dicom-results.md).
    commitment
        Ask for storage commitment, and send again what is not committed.
    commitment_seconds
        How long the answer is awaited.
    tls
        None uses none.
    results
        False for a destination of forwarded series alone.
    """

    type: Literal["dicom"]
    host: str
    port: Port
    ae_title: AeTitle
    kinds: Annotated[list[Kind], Field(min_length=1)] = ["seg", "sr", "sc", "ko"]
    commitment: bool = False
    commitment_seconds: Seconds = 120.0
    tls: Tls | None = None
    results: bool = True


class StowDestination(_Destination):
    """An archive that speaks DICOMweb: objects go by STOW-RS.

    Attributes
    ----------
    name
        By which rules, logs and metrics name it.
    timeout_seconds
        For each answer.
    type
        Of the destination.
    url
        Base of its DICOMweb services: `/studies` is put behind it.
    kinds
        Of results, as for `dicom`.
    token_file
        Its first line is the bearer token.
    results
        False for a destination of forwarded series alone.
    """

    type: Literal["stow"]
    url: Url
    kinds: Annotated[list[Kind], Field(min_length=1)] = ["seg", "sr", "sc", "ko"]
    token_file: Path | None = None
    results: bool = True


class UpsDestination(_Destination):
    """A worklist manager: a Unified Procedure Step for each study that is to be read, by DIMSE.

    Attributes
    ----------
    name
        By which rules, logs and metrics name it.
    timeout_seconds
        For each answer.
    type
        Of the destination.
    host, port, ae_title
        Where it is, and its title.
    tls
        None uses none.
    worklist_label
        Of the list on which the step is to stand.
    images_at
        AE title of the archive from which the images can be retrieved; None names none.
    """

    type: Literal["ups"]
    host: str
    port: Port
    ae_title: AeTitle
    tls: Tls | None = None
    worklist_label: Annotated[str, StringConstraints(max_length=64)] = ""
    images_at: AeTitle | None = None


class Hl7Destination(_Destination):
    """An interface engine: ORU^R01 by MLLP.

    Attributes
    ----------
    name
        By which rules, logs and metrics name it.
    timeout_seconds
        For each answer.
    type
        Of the destination.
    host, port
        Where it is.
    tls
        None uses none.
    receiving_application, receiving_facility
        MSH-5 and MSH-6.
    """

    type: Literal["hl7"]
    host: str
    port: Port
    tls: Tls | None = None
    receiving_application: str = "RIS"
    receiving_facility: str = ""


class FhirDestination(_Destination):
    """A FHIR R4 server: a transaction of ImagingStudy, Observations and DiagnosticReport.

    Attributes
    ----------
    name
        By which rules, logs and metrics name it.
    timeout_seconds
        For each answer.
    type
        Of the destination.
    url
        Its base.
    token_file
        Its first line is the bearer token.
    """

    type: Literal["fhir"]
    url: Url
    token_file: Path | None = None


class WebhookDestination(_Destination):
    """A program of the site: the findings JSON by POST.

    Attributes
    ----------
    name
        By which rules, logs and metrics name it.
    timeout_seconds
        For each answer.
    type
        Of the destination.
    url
        Where to post to.
    secret_file
        Its first line signs each body (HMAC-SHA256, `X-Ichor-Signature`).
    """

    type: Literal["webhook"]
    url: Url
    secret_file: Path | None = None


ObjectDestination = DicomDestination | StowDestination
"""What DICOM objects go to: results, and series that are forwarded."""

Destination = Annotated[
    DicomDestination
    | StowDestination
    | UpsDestination
    | Hl7Destination
    | FhirDestination
    | WebhookDestination,
    Field(discriminator="type"),
]
