"""How results leave: C-STORE with storage commitment, STOW-RS, procedure steps, HL7 by MLLP, FHIR R4, a webhook."""
