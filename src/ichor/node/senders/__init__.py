"""How results leave: DICOM with storage commitment, HL7 version 2 by MLLP, FHIR R4, a webhook."""
