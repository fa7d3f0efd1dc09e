"""Words of the languages that head CT is described in: they give points to a series, and refuse none.

Texts are compared in capitals and without accents (:func:`folded`).
"""

# ruff: noqa: RUF001 - letters of other scripts are meant as such

from __future__ import annotations

import re
import unicodedata

__all__ = ["folded", "names_another_part", "names_bone", "names_head"]

_LONGEST = 512
"""Characters of a text that are looked at."""
_LETTERS = str.maketrans({"Ł": "L", "Ø": "O", "Æ": "AE", "Œ": "OE", "Đ": "D", "İ": "I", "ı": "I"})


def folded(text: str) -> str:
    """Capitals without accents: ``Schädel`` and ``CRÂNE`` become SCHADEL and CRANE."""
    capitals = unicodedata.normalize("NFKD", text[:_LONGEST].translate(_LETTERS)).upper().translate(_LETTERS)
    plain = "".join(c for c in capitals if not unicodedata.combining(c) or c > "\u0fff")
    return unicodedata.normalize("NFC", plain)


_HEAD = (
    r"HEAD|BRAIN|SKULL|CALOTTE|CALVARI|CRANI|CRANEO?\b|\bCRAN\b|KOPF|SCH(AE|A)DEL|\bHIRN|GEHIRN|CEREBR|CABE[CZ]A|"
    r"\bTETE\b|\bTESTA\b|ENCEFAL|ENCEPHAL|\bCAPO\b|"
    r"\bCAP SI\b|CREIER|HOOFD|HERSEN|SCHEDEL|HUVUD|\bHOVED|\bHODE|\bHJERNE|\bHJARNA|SKALLE|"
    r"\bPAAN?\b|\bAIVO|\bKALLO|\bPEA(JU)?\b|\bAJU|GALVA|GALVO|SMADZEN|SMEGEN|GLOWA|GLOWY|MOZG|CZASZK|HLAVA|HLAVY|MOZEK|MOZKU|MOZOG|LEBK|"
    r"GLAVA|GLAVE|LOBANJ|MOZAK|KOPONYA|\bAGY|\bFEJ\b|KAFA|BEYIN|KRAN[IY]|KEPALA|\bOTAK\b|\bSO NAO\b|UBONGO|KICHWA|"
    r"\bCCT\b|\bNCCT\b|STROKE|NEURO|ГОЛОВ|ГЛАВА|ГЛАВНИ|МОЗГ|МОЗОК|МОЗЪК|ЧЕРЕП|КРАНИ|ΚΕΦΑΛ|ΕΓΚΕΦΑΛ|ΚΡΑΝΙ|頭|头|颅|顱|脳|脑|腦|"
    r"두부|뇌|머리"
)
_HEAD_UNSPACED = "رأس دماغ مغز جمجم מוח ראש גולגול सिर मस्तिष्क สมอง ศีรษะ กะโหลก"
"""Searched for anywhere; folded, since some accents of these scripts are dropped like those of others."""
_HEAD_PATTERN = re.compile("|".join([_HEAD, *map(folded, _HEAD_UNSPACED.split())]))
_ELSEWHERE = re.compile(
    r"CHEST|THORA|TORA[CX]|\bLUNGS?\b|ABDOM|BUIK|\bBAUCH|PELVI|BECKEN|\bBASSIN\b|BEKKEN|SPINE|RACHIS|COLUMNA|COLUNA|"
    r"COLONNA|WIRBEL|\bHWS\b|\bBWS\b|\bLWS\b|\bNECK\b|\bHALS\b|\bCOU\b|CUELLO|PESCOCO|\bCOLLO\b|CERVICAL|\bDORSAL|LUMBAR|"
    r"LOMB|\bKNEE|\bKNIE|GENOU|RODILLA|JOELHO|GINOCCHI|\bHIPS?\b|\bLEGS?\b|\bFOOT\b|\bFEET\b|\bTOES?\b|ANKLE|SHOULDER|\bARMS?\b|"
    r"\bHANDS?\b|\bFINGER|WRIST|ELBOW|FEMUR|TIBIA|HUMERUS|CLAVIC|\bRIBS?\b|STERN(UM|AL)|BREAST|MAMMA|PROSTAT|BLADDER|\bHEART\b|"
    r"CARDIAC|CORONAR|\bLIVER|KIDNEY|COLON\b|EXTREMIT|WHOLE ?BODY|BRUCH|KLATK|HRUDN|BRICH|TULPP|RINTAKEHA|VATSA|"
    r"ГРУД|ЖИВОТ|БРЮШ|ПОЗВОН|ΘΩΡΑΚ|ΚΟΙΛΙ|胸|腹|脊|頚椎|颈|흉부|복부"
)
_BONE_WORDS = re.compile(
    r"\bBONE|KNOCHEN|\bSHARP\b|\bEDGE\b|\bOS\b|\bOSSEU[XS]|\bHUESO|\bOSEO|\bOSSO|\bOSSEO|\bBOT\b|\bBEN\b|\bKOSC|\bKOST\b|"
    r"КОСТ|ΟΣΤΟ|骨|골"
)


def names_head(text: str) -> bool:
    """Return whether a folded text names the head."""
    return bool(_HEAD_PATTERN.search(text))


def names_another_part(text: str) -> bool:
    """Return whether a folded text names a part of the body that is not the head."""
    return bool(_ELSEWHERE.search(text))


def names_bone(text: str) -> bool:
    """Return whether a folded text names bone, as descriptions of sharp reconstructions do."""
    return bool(_BONE_WORDS.search(text))
