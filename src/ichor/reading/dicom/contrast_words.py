"""What a text says of a contrast medium, in the languages that head CT is described in.

Texts are brought to one spelling (initials joined, ``W/O``, ``S/`` and ``C+`` written out), then searched for a medium
with a word before or behind it that says whether it was given. Scripts without blanks between words are searched for
the words themselves.
"""

# ruff: noqa: RUF001 - letters of other scripts are meant as such

from __future__ import annotations

import re
from typing import Literal

from ichor.reading.dicom.words import folded

__all__ = ["Contrast", "is_no_agent", "names_contrast"]

Contrast = Literal["with", "without", "unclear"]


def _any(words: str) -> str:
    """Return a pattern for any of some words, folded as texts are; ``~`` stands for the rest of a word."""
    patterns = (folded(word).replace("~", r"\w*") for word in words.split())
    return "(?:" + "|".join(sorted(patterns, key=len, reverse=True)) + ")"


_NOT = _any(
    """
    WO WOUT WITHOUT NO NOT NON KEIN KEINE KEINEM NICHT OHNE SANS SIN SEM NAO SENZA ZONDER GEEN NIET UTAN
    UTEN UDEN INGEN INTE IKKE ILMAN ILMA EI BEZ BREZ BIEZ FARA NEM TANPA KHONG ΧΩΡΙΣ ΔΙΧΩΣ БЕЗ НЕ НЕТ
    बिना BEFORE AVANT VOR PRIMA ANTES PRE FORE ENNEN PRZED PRED VOOR ДО ПЕРЕД
    """
)
_GIVEN = _any(
    """
    W WITH AFTER POST MIT NACH AVEC APRES CON COM TRAS DESPUES APOS DOPO MET NA MED EFTER ETTER CU DUPA
    PO SA SO AR SU DENGAN SETELAH ΜΕ ΜΕΤΑ СО С ПОСЛЕ ПІСЛЯ З ІЗ СЛЕД
    """
)
_SHORT_NOT, _SHORT_GIVEN = _any("O U BE"), _any("M S Z CO")
"""Words of one or two letters that say something before a medium only."""
_MEDIUM = _any(
    """
    CONTRA~ CONTR CONT CNTR CTE CONST~ KONTRA~ KONTR KTR КОНТРАСТ~ ΣΚΙΑΓΡΑΦ~ ΣΚΙΑΣΤ~ VARJOAIN~ TEHOST~
    ENHANC~ ENH INJ(?!UR)~ INY~ INIE~ GAD~ DYE MEDIO MEDIUM MEDIA MEZZO MEIO PRODUIT THUOC~ TIEM
    ВВЕДЕНИ~ कंट्रास्ट IV IVC EV CV CIV CON CE CM KM KL KS MC MDC PDC C КУ КВ
    """
)
"""The medium, or how it is given; many say nothing without a word before them."""
_BETWEEN_WORDS = _any(
    """
    ANY THE A IV EV INTRAVEN~ DE DI DO DU LA UM I V PRODUIT MEDIO MEZZO MEIO CON AVEC SR SRODK~ SUBST~
    IODE YOD~ ORAL ВНУТРИВЕНН~ ВВ ΕΝΔΟΦΛΕΒ~
    """
)
_BETWEEN = rf"(?: {_BETWEEN_WORDS})*"
_ENHANCED = _any(
    """
    CONTRAS~ CONSTRAST~ KONTRAS~ POSTCON~ POSTKON~ КОНТРАСТ~ ΣΚΙΑΓΡΑΦ~ VARJOAIN~ TEHOST~ ENHANCED
    INJECT~ INYECT~ INIETT~ PERFU[SZ]~ ПЕРФУЗ~ ANGIO~ АНГИО~ VENOUS~ VENOGR~ VENEU~ VEINEU~ VENOS~
    ВЕНОЗН~ ARTERI~ АРТЕРИАЛ~ PORTAL~ ПОРТАЛ~ DELAYED TARDI[VFA]~ SPATPHASE~ WILLIS CE CTA CTV CTP CECT
    COW
    """
)
_PLAIN = _any(
    """
    NATI+V(?!ITY)~ NATIF~ NATYW~ НАТИВ~ NECT NCCT NC NCE PLAIN VIRGEN BLANCO? SIMPLES? BASALE DIRETT[OA]
    UNENH~ SMD?C WOC PRECON~ (?:NON|UN|NICHT)(?:CON|ENH)~ ~[KC]ONTRAST~(?:FREI|FREE)~
    ~KONTRAST(?:SIZ|ITA)~
    """
)
_WITHOUT = re.compile(
    rf" (?:{_NOT}{_BETWEEN}|{_SHORT_NOT}) {_MEDIUM}\b(?:{_BETWEEN} {_MEDIUM}\b)*| {_PLAIN}\b"
    r"| S (?:CONTR|CONTRAST\w*|CIV|MDC|IV|EV|PDC|C)\b| \w*KONTRASZT\w* NELKUL"
    r"| (?:[KC]ONTRAS\w*|AGENT) (?:YOK|NO|NONE)\b"
)
_WITH = re.compile(
    rf" (?:{_GIVEN}{_BETWEEN}|{_SHORT_GIVEN}) {_MEDIUM}\b| {_ENHANCED}\b| (?:KM (?:IV|GABE)|C ECT|LATE PHASE)\b"
    r"| C (?:CONT|CONTR|CONTRAST\w*|CIV|MDC|IV|EV|PDC)\b"
)
_AND = _any("AND UND ET E ED Y EN OG OCH I A JA ΚΑΙ И ТА")
_BOTH = re.compile(
    rf" {_NOT}(?: {_MEDIUM})? {_AND} (?:{_GIVEN}|{_SHORT_GIVEN})\b| {_NOT} (?!CO)(?:{_GIVEN}|{_SHORT_GIVEN})\b"
    rf"| (?:{_GIVEN}|{_SHORT_GIVEN})(?: {_MEDIUM})?(?: {_AND})? {_NOT}\b| WWO\b| WOW\b| PRE(?: {_AND})? POST\b"
)
_LAST = r"(?= $| \d+(?: \d+)? ?(?:MM)? $)"
_ENDS_WITHOUT, _ENDS_WITH = re.compile(f" {_NOT}{_LAST}"), re.compile(f" (?:W|WITH|POST){_LAST}")
"""A last word, but for a thickness, that leaves the medium to be guessed."""
_RATE = re.compile(r"\d ?(?:CC|ML)[ /]*S(?:EC)?\b")
"""Of an injection."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(folded(word) for word in text.split())


_UNSPACED_WITHOUT = _words(
    """
    平扫 平掃 普通扫描 単純 造影なし 造影無 造影前 造影剤なし 増強前 增强前 增強前 조영전 비조영 무조영 נטיב
    ไม่ฉีดสี ไม่ฉีดสาร ไม่ใช้สาร
    """
)
_UNSPACED_NOT = _words("بدون بلا ללא בלי ไม่ 無 无 未 非")
_UNSPACED_WITH = _words(
    """
    增强 增強 増強 造影 조영 הזרק ניגוד تزريق تزریق صبغ تباين حاجب ฉีดสี ฉีดสาร สารทึบ คอนทราส कंट्रास्ट
    """
)
"""Of scripts whose words are not parted by blanks, or take endings on both sides."""

_SIGNS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\bSO NAO\b", " "),  # a head in Vietnamese, and no negation
        (folded("조영 전"), folded("조영전")),
        (r"\+ ?/ ?-|±", " WWO "),
        (r"\bW ?/ ?WO\b|\bW ?/ ?W ?/ ?O\b", " WWO "),
        (r"\bW ?[/\\-] ?O(?:UT)?\b", " WO "),
        (r"(?:C|CONTRAST\w*|IV|KM)? ?\( ?- ?\)", " WITHOUT C "),
        (r"(?:C|CONTRAST\w*|IV|KM)? ?\( ?\+ ?\)", " WITH C "),
        (r"\bК ?/ ?У\b", " КУ "),
        (r"\bW ?/", " WITH "),
        (r"\bS ?/ ?C\b", " SIN C "),
        (r"\bC ?/ ?C\b", " CON C "),
        (r"\bC ?/ ?S\b", " WWO "),
        (r"\b[SUO] ?/ ?(?=[^\W\d])", " SIN "),
        (r"\b[CM] ?/ ?(?=[^\W\d])", " CON "),
        (r"\b(?:C|IV|KM|PDC|MDC|PC|CE|CIV) ?\+|[+&] ?(?:C|IV|KM|PDC|MDC|CE|CIV)\b", " WITH C "),
        (
            r"\b(?:C|IV|KM|PDC|MDC|PC|CE|CIV) ?-(?!\w)|(?<![^\s(])- ?(?:C|IV|KM|PDC|MDC|CE|CIV)\b",
            " WITHOUT C ",
        ),
        (r"\bВ ?/ ?В\b", " ВВ "),
    )
)
"""Signs and abbreviations with strokes, in this order, and the words that they stand for."""
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.){2,}(?:[^\W\d_]\b)?")

_NO_WORDS = _any(
    """
    NONE NO N NA NC NIL NULL NAN FALSE UNK UNKNOWN UNSPECIFIED WITHOUT WO NON NONCON NOT KEINE? KEINS
    KEINES NEIN OHNE SANS AUCUNE? SIN NINGUN NINGUNO NINGUNA SEM NAO NENHUMA? SENZA NESSUN NESSUNO
    NESSUNA ZONDER GEEN NEE UTAN UTEN UDEN INGEN INGET EI BEZ BRAK NIE NE NEM ZADNY NINCS FARA YOK TANPA
    HAYIR НЕТ НЕ БЕЗ ΟΧΙ ΧΩΡΙΣ 0
    """
)
_NO_UNSPACED = _words("无 無 未 没有 なし 없음 לא لا")
_OTHER_WORDS = _any(
    """
    ADMIN~ GIVEN GEGEBEN USED UTILIS~ APPLI~ AGENTS? ORAL SE ANY VOLUME BOLUS ML CC A B ВВОДИ~ ПРИМЕН~
    """
)
_NO_AGENT = re.compile(
    rf"(?=.*\b{_NO_WORDS}\b)(?:{_NO_WORDS}|{_MEDIUM}|{_OTHER_WORDS})(?: (?:{_NO_WORDS}|{_MEDIUM}|{_OTHER_WORDS}))*"
)
_ZERO = re.compile(r"(?<![\d.,])0+(?:[.,]0+)? ?(?:ML|CC)?\b(?![.,]?\d)")


def names_contrast(text: str) -> Contrast | None:
    """Return what a folded text says of contrast: given, not given, both (``unclear``); None where nothing."""
    spelled = _spelled(text)
    if _BOTH.search(spelled):
        return "unclear"
    rest = _WITHOUT.sub(" ", spelled)
    for word in _UNSPACED_WITHOUT:
        rest = rest.replace(word, " ")
    for word in _UNSPACED_NOT:  # with what it negates
        media = "|".join(map(re.escape, _UNSPACED_WITH))
        rest = re.sub(rf"{re.escape(word)}\S* ?(?:\S+ )?\S*(?:{media})\S*", " ", rest)
    given = _WITH.search(rest) or _RATE.search(text) or any(word in rest for word in _UNSPACED_WITH)
    if rest != spelled:
        return "unclear" if given else "without"
    if given:
        return "with"
    if _ENDS_WITHOUT.search(spelled):
        return "without"
    return "with" if _ENDS_WITH.search(spelled) else None


def is_no_agent(text: str) -> bool:
    """Return whether a folded text in the place of a contrast agent's name says that there was none."""
    words = " ".join(re.sub(r"[\W_]+", " ", text).split())
    if not words or (_ZERO.search(text) and not re.search(r"[1-9]", text)):
        return True
    no = re.fullmatch(_NO_WORDS, words.replace(" ", "")) or _NO_AGENT.fullmatch(words)
    return bool(no) or any(w in text for w in _NO_UNSPACED) or names_contrast(text) == "without"


def _spelled(text: str) -> str:
    """Bring a folded text to words parted by single blanks, with one around it."""
    plain = _INITIALS.sub(lambda m: m[0].replace(".", "") + " ", text.replace("_", " ").replace("^", " "))
    for pattern, words in _SIGNS:
        plain = pattern.sub(words, plain)
    plain = re.sub(r"[^\w\u0300-\uffff]+", " ", plain)
    return f" {' '.join(plain.split())} "
