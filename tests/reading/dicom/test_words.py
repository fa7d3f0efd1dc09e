"""Words of many languages for head, contrast and its absence."""

# ruff: noqa: RUF001 - letters of other scripts are meant as such

from __future__ import annotations

import pytest

from ichor.reading.dicom.contrast_words import is_no_agent, names_contrast
from ichor.reading.dicom.words import (
    folded,
    names_another_part,
    names_bone,
    names_head,
)

from . import contrast_texts

PLAIN = [
    "Head without contrast", "CT HEAD W/O CONTRAST", "Head w/o IV contrast", "Head WO", "NON CON HEAD",
    "non-contrast head", "Head C-", "NCCT", "Unenhanced", "Pre contrast", "Schädel ohne KM", "Kopf nativ",
    "CCT nativ / ohne KM", "CRANE SANS IV 5mm", "Crâne sans injection", "crâne sans injection de produit de contraste",
    "CRANIO SEM CONTRASTE", "Cráneo sin contraste", "CRANEO SIMPLE", "TC encefalo senza mdc", "SCHEDEL ZONDER CONTRAST",
    "Huvud utan kontrast", "Hode uten kontrast", "Hoved uden kontrast", "Pää ilman varjoainetta", "Głowa bez kontrastu",
    "Hlava bez k.l.", "Koponya natív", "Craniu fara contrast", "Glava bez kontrasta", "Beyin BT kontrastsız",
    "Голова без контраста", "Κρανίο χωρίς σκιαγραφικό", "头颅平扫", "頭部単純", "뇌 비조영", "Kepala tanpa kontras",
]  # fmt: skip
ENHANCED = [
    "Head with contrast", "Head C+", "CTA COW 1.0", "Angio head", "Perfusion 4cc/s", "Post contrast", "Head venous",
    "Schädel mit KM", "CRANE AVEC INJECTION", "Tête veineux", "CRANIO COM CONTRASTE", "Cráneo con contraste",
    "TC encefalo con mdc", "SCHEDEL MET CONTRAST", "Huvud med kontrast", "Pää varjoaineella", "Głowa z kontrastem",
    "Hlava s kontrastem", "Beyin BT kontrastlı", "Голова с контрастом", "头颅增强", "頭部造影", "뇌 조영",
]  # fmt: skip
BOTH = [
    "Head without and with contrast", "W/WO contrast", "Schädel ohne und mit KM", "Sem e com contraste",
    "Crâne sans et avec injection", "Cráneo con y sin contraste", "Encefalo senza e con mdc", "Schedel met en zonder contrast",
]  # fmt: skip
SILENT = ["Head 5.0", "5.0 H31s", "Kopf", "Brain", "Routine", "C-SPINE", "Crâne", "Axial", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, "without") for text in PLAIN),
        *((text, "with") for text in ENHANCED),
        *((text, "unclear") for text in BOTH),
        *((text, None) for text in SILENT),
    ],
)
def test_what_a_description_says_of_contrast(text, said):
    assert names_contrast(folded(text)) == said


@pytest.mark.parametrize(
    "agent",
    ["", "N/A", "NA", "none", "No", "0", "-", "NON CONTRAST", "SEM CONTRASTE", "kein KM", "NÃO", "W/O", "Aucun", "Без",
     "not applicable", "No contrast agent", "Unknown", "zonder", "senza mdc"],
)  # fmt: skip
def test_no_agent(agent):
    assert is_no_agent(folded(agent))


@pytest.mark.parametrize(
    "agent", ["Iomeron 350", "OMNIPAQUE", "Ultravist IV", "Xenetix", "iohexol 300 mg/ml", "CE", "YES", "Jod"]
)
def test_an_agent(agent):
    assert not is_no_agent(folded(agent))


@pytest.mark.parametrize(
    "text",
    ["HEAD", "Schädel", "SCHAEDEL", "CRÂNE", "crane", "Cráneo", "Crânio", "Cabeça", "Tête", "TESTA", "encéphale", "Hoofd",
     "Huvud", "Hoved", "Pää", "Głowa", "Hlava", "Koponya", "Kafa", "Голова", "Κεφάλι", "头颅", "頭部", "두부", "CCT"],
)  # fmt: skip
def test_heads(text):
    assert names_head(folded(text)) and not names_another_part(folded(text))


@pytest.mark.parametrize(
    "text",
    ["CHEST", "Thorax", "Tórax", "ABDOMEN", "C-SPINE CERVICAL", "RACHIS CERVICAL", "HWS", "Coluna lombar", "Becken",
     "Грудная клетка", "胸部", "Neck"],
)  # fmt: skip
def test_other_parts(text):
    assert names_another_part(folded(text)) and not names_head(folded(text))


def test_head_and_neck_names_both():
    text = folded("TDM CRÂNE + RACHIS CERVICAL")
    assert names_head(text) and names_another_part(text)


@pytest.mark.parametrize("text", ["Bone 1.0", "Knochen", "OS", "Osseux", "Hueso", "Кость"])
def test_bone(text):
    assert names_bone(folded(text)) and not names_bone(folded("Brain 5.0 soft"))


def test_folding_keeps_letters_of_other_scripts():
    assert folded("Łódź ß é Ø 頭 ド й") == "LODZ SS E O 頭 ド И"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (contrast_texts.PLAIN, "without"),
        (contrast_texts.ENHANCED, "with"),
        (contrast_texts.BOTH, "unclear"),
        (contrast_texts.SILENT, None),
    ],
    ids=["plain", "enhanced", "both", "silent"],
)
def test_what_the_descriptions_of_many_countries_say(texts, expected):
    found = {text: names_contrast(folded(text)) for text in texts}
    assert {text: kind for text, kind in found.items() if kind != expected} == {}


def test_agents_and_what_stands_in_the_place_of_none():
    assert [text for text in contrast_texts.NO_AGENT if not is_no_agent(folded(text))] == []
    assert [text for text in contrast_texts.AGENT if is_no_agent(folded(text))] == []


def test_heads_of_many_languages():
    assert [text for text in contrast_texts.HEADS if not names_head(folded(text))] == []
