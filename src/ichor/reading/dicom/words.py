"""Words of the languages that head CT is described in: they give points to a series, and refuse none.

Texts are compared in capitals and without accents (:func:`folded`).
"""

# ruff: noqa: RUF001 - letters of other scripts are meant as such

from __future__ import annotations

import re
import unicodedata
from typing import Literal

__all__ = ["folded", "is_no_agent", "names_another_part", "names_bone", "names_contrast", "names_head"]

Contrast = Literal["with", "without", "unclear"]

_LONGEST = 512
"""Characters of a text that are looked at."""
_LETTERS = str.maketrans({"Ł": "L", "Ø": "O", "Æ": "AE", "Œ": "OE", "Đ": "D", "İ": "I", "ı": "I"})
_HEAD = re.compile(
    r"HEAD|BRAIN|SKULL|CRANI|CRANEO?\b|\bCRAN\b|KOPF|SCH(AE|A)DEL|CEREBR|CABE[CZ]A|\bTETE\b|\bTESTA\b|ENCEFAL|ENCEPHAL|"
    r"\bCAPO\b|\bCAP SI\b|HOOFD|HERSEN|SCHEDEL|HUVUD|\bHOVED|\bHODE|\bHJERNE|\bHJARNA|SKALLE|\bPAAN?\b|\bAIVO|\bKALLO|"
    r"GLOWA|GLOWY|MOZG|CZASZK|HLAVA|HLAVY|MOZEK|MOZKU|LEBK|GLAVA|GLAVE|LOBANJ|MOZAK|KOPONYA|\bAGY|\bFEJ\b|"
    r"KAFA|BEYIN|KRANI|KEPALA|\bOTAK\b|\bCCT\b|\bNCCT\b|STROKE|NEURO|"
    r"ГОЛОВ|МОЗГ|МОЗОК|ЧЕРЕП|КРАНИ|ΚΕΦΑΛ|ΕΓΚΕΦΑΛ|ΚΡΑΝΙ|頭|头|颅|顱|脳|脑|腦|두부|뇌|머리|رأس|دماغ|ראש|מוח|सिर|สมอง|ศีรษะ"
)
_ELSEWHERE = re.compile(
    r"CHEST|THORA|TORA[CX]|\bLUNGS?\b|ABDOM|BUIK|\bBAUCH|PELVI|BECKEN|\bBASSIN\b|BEKKEN|SPINE|RACHIS|COLUMNA|COLUNA|"
    r"COLONNA|WIRBEL|\bHWS\b|\bBWS\b|\bLWS\b|\bNECK\b|\bHALS\b|\bCOU\b|CUELLO|PESCOCO|\bCOLLO\b|CERVICAL|\bDORSAL|LUMBAR|"
    r"LOMB|\bKNEE|\bKNIE|GENOU|RODILLA|JOELHO|GINOCCHI|\bHIPS?\b|\bLEGS?\b|\bFOOT\b|ANKLE|SHOULDER|\bARMS?\b|\bHANDS?\b|WRIST|ELBOW|\bHEART\b|CARDIAC|"
    r"CORONAR|\bLIVER|KIDNEY|COLON\b|EXTREMIT|WHOLE ?BODY|BRUCH|KLATK|HRUDN|BRICH|TULPP|RINTAKEHA|VATSA|"
    r"ГРУД|ЖИВОТ|БРЮШ|ПОЗВОН|ΘΩΡΑΚ|ΚΟΙΛΙ|胸|腹|脊|頚椎|颈|흉부|복부"
)
_MEDIUM = (
    r"(CONTRAST\w*|KONTRAS\w*|CONSTRAST\w*|CONTRASTE\w*|КОНТРАСТ\w*|ΣΚΙΑΓΡΑΦΙΚ\w*|VARJOAIN\w*|INJ\w*|INY\w*|INIE\w*|GADO\w*|"
    r"IV\b|I\.V\.?|EV\b|C\.?I\.?V\b|CON\b|CE\b|KM\b|K\.?L\b|MC\b|M\.?D\.?C\b|P\.?D\.?C\b|C\b)"
)
"""The medium, or how it is given; the short ones say nothing without a word before them."""
_NEGATION = (
    r"(\bW/?O\b|\bWITHOUT\b|\bNOT?\b|\bNON|\bKEIN\w*|\bOHNE|\bSANS|\bSIN\b|\bSEM\b|\bSENZA|\bZONDER|\bGEEN|\bUTAN|\bUTEN|"
    r"\bUDEN|\bINGEN|\bILMAN|\bBEZ|\bFARA|\bNAO\b|\bTANPA|\bKHONG|\bNIET|\bБЕЗ|\bΧΩΡΙΣ|\bS/)"
)
_WITHOUT = re.compile(
    rf"{_NEGATION}[- ./_]*(ANY |IV |I\.V\. |DE |DI |UM |PRODUIT DE |MEDIO DE |MEZZO DI |MEIO DE |CON |AVEC )*{_MEDIUM}|"
    r"\w*KONTRASTSIZ\w*|\w*KONTRASZT\w* NELKUL|\bPLAIN\b|\bNATIV|\bNATYW|\bVIRGEN\b|\bBLANC?O\b|\bNCCT\b|\bNECT\b|"
    r"\bUNENHANCED|\bSIMPLES?\b|\bPRE[- ]?(CON|C\b|KM|INJ|IV)|НАТИВ|平扫|平掃|単純|非造影|비조영|조영전|بدون|ללא"
)
_WITH = re.compile(
    r"CONTRAST|KONTRAS|КОНТРАСТ|ΣΚΙΑΓΡΑΦΙΚ|VARJOAIN|\bENHANCED|\bCE\b|\bC[- ]?ECT\b|\bCTA\b|ANGIO|АНГИО|\bCOW\b|"
    r"[+&] ?(C|KM|IV)\b|\bC ?\+|\b(MIT|M\.?) ?KM\b|\bW/? ?C\b|\bWITH (C|IV)\b|"
    r"\b(AVEC|CON|COM|MET|MED|CU) (IV|C|INJ\w*|INY\w*|PDC|MDC|MC|EV)\b|"
    r"\bINJECT|\bINYECT|\bINIETT|\bAPRES\b|PERFU[SZ]|\bPOST[- ]?(C\b|CON|KM|GAD|INJ|INY|IV)|\d ?(CC|ML)[ /]*S(EC)?\b|"
    r"VENOUS|\bVENOGR|\bVEINEUX|\bVENOS|\bVENEUS|\bARTERI|\bPORTAL|增强|增強|造影|조영"
)
_AND = r"[- ]*(\bAND\b|\bUND\b|\bET\b|\bE\b|\bED\b|\bY\b|\bEN\b|\bOG\b|\bOCH\b|\bI\b|\bA\b|\bИ\b|\bΚΑΙ\b|[/&+,])[- ]*"
_GIVEN = r"(\bW\b|\bWITH|\bMIT\b|\bAVEC|\bCOM\b|\bCON\b|\bMET\b|\bMED\b|\bCU\b|\bZ\b|\bS\b|\bС\b|\bΜΕ\b)"
_BOTH = re.compile(rf"{_NEGATION}\w*{_AND}{_GIVEN}|{_GIVEN}\w*{_AND}{_NEGATION}|\bW/?WO\b|\bWO/W\b|\+ ?/ ?-")
_BARE_NEGATION = re.compile(rf"{_NEGATION}\W*$|\bC ?-(?!\w)")
_NO_AGENT = {
    "", "0", "NONE", "NO", "N", "NA", "NIL", "NULL", "FALSE", "UNKNOWN", "UNK", "UNSPECIFIED", "NOTAPPLICABLE",
    "NOTGIVEN", "NONEGIVEN", "WITHOUT", "WO", "NON", "NOT", "KEIN", "KEINE", "KEINS", "NEIN", "OHNE", "SANS",
    "AUCUN", "AUCUNE", "SIN", "NINGUNO", "NINGUNA", "SEM", "NAO", "NENHUM", "SENZA", "NESSUNO", "NESSUNA",
    "ZONDER", "GEEN", "NEE", "UTAN", "UTEN", "UDEN", "INGEN", "INGET", "EI", "BEZ", "BRAK", "NIE", "NE", "ZADNY",
    "NINCS", "FARA", "YOK", "TANPA", "НЕТ", "БЕЗ", "ΟΧΙ", "ΧΩΡΙΣ", "无", "無", "なし", "없음",
}  # fmt: skip
_BONE_WORDS = re.compile(
    r"\bBONE|KNOCHEN|\bSHARP\b|\bEDGE\b|\bOS\b|\bOSSEU[XS]|\bHUESO|\bOSEO|\bOSSO|\bOSSEO|\bBOT\b|\bBEN\b|\bKOSC|\bKOST\b|"
    r"КОСТ|ΟΣΤΟ|骨|골"
)


def folded(text: str) -> str:
    """Capitals without accents: ``Schädel`` and ``CRÂNE`` become SCHADEL and CRANE."""
    capitals = unicodedata.normalize("NFKD", text[:_LONGEST].translate(_LETTERS)).upper().translate(_LETTERS)
    plain = "".join(c for c in capitals if not unicodedata.combining(c) or c > "\u0fff")
    return unicodedata.normalize("NFC", plain)


def names_head(text: str) -> bool:
    """Return whether a folded text names the head."""
    return bool(_HEAD.search(text))


def names_another_part(text: str) -> bool:
    """Return whether a folded text names a part of the body that is not the head."""
    return bool(_ELSEWHERE.search(text))


def names_bone(text: str) -> bool:
    """Return whether a folded text names bone, as descriptions of sharp reconstructions do."""
    return bool(_BONE_WORDS.search(text))


def names_contrast(text: str) -> Contrast | None:
    """Return what a folded text says of contrast: given, not given, both (``unclear``); None where nothing."""
    if _BOTH.search(text):
        return "unclear"
    if _WITHOUT.search(text) or _BARE_NEGATION.search(text):
        return "without"
    return "with" if _WITH.search(text) else None


def is_no_agent(text: str) -> bool:
    """Return whether a folded text in the place of a contrast agent's name says that there was none."""
    bare = re.sub(r"[\W_]+", "", text)
    return bare in _NO_AGENT or names_contrast(text) == "without"
