"""The 17 variables of the mortality task, as a typed table.

Sources: item lists, ranges, normal values and the layout of the 76 columns are those of the MIMIC-III
benchmark (Harutyunyan et al. 2019, Scientific Data 6:96) and of its MIMIC-IV port in MedFuse (Hayat et al.
2022, MLHC); units and the items that the port lacks are from the item tables of MIMIC-IV v2.2.

Column names keep the published spelling, so that arrays can be compared column by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Conversion(StrEnum):
    """How a charted number becomes the variable's unit."""

    NONE = "none"
    FAHRENHEIT = "fahrenheit"  # (v - 32) * 5 / 9
    FAHRENHEIT_IF_HOT = "fahrenheit_if_hot"  # the same, for values of 79 or more: nobody has 79 degrees Celsius
    PERCENT = "percent"  # v / 100, unless v is 1 or less and so a fraction already
    PERCENT_ALWAYS = "percent_always"  # v / 100
    FRACTION_TO_PERCENT = "fraction_to_percent"  # v * 100 for values of 1 or less
    POUND = "pound"  # v * 0.453592
    INCH = "inch"  # v * 2.54


@dataclass(frozen=True)
class Item:
    """One way a variable is charted.

    Args:
        itemid: MIMIC-IV's number of the item.
        table: ``chart`` (icu/chartevents) or ``lab`` (hosp/labevents).
        conversion: From the charted unit to the variable's.
        peer: The MedFuse extraction reads it.
        sound: It measures the variable (urine and other fluids do not).
        rank: Lower is preferred where several items fall into one step.
    """

    itemid: int
    table: Literal["chart", "lab"] = "chart"
    conversion: Conversion = Conversion.NONE
    peer: bool = True
    sound: bool = True
    rank: int = 0


@dataclass(frozen=True)
class Category:
    """One meaning of a categorical variable.

    Args:
        column: The one-hot column that stands for it.
        score: Its number on the scale.
        spellings: Other columns or texts of the same meaning.
    """

    column: str
    score: int
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Range:
    """Below ``reject_low`` or above ``reject_high`` a value is removed; then it is clipped to ``low``..``high``."""

    reject_low: float
    low: float
    high: float
    reject_high: float


@dataclass(frozen=True)
class Variable:
    """One of the 17.

    Args:
        name: Ours.
        published: The benchmark's name, which its columns carry.
        normal: What is assumed before anything was measured: a number, or the name of a one-hot column.
        items: Where it is charted.
        limits: For continuous variables: what is kept.
        columns: For categorical variables: the one-hot columns, in the published order.
        categories: For categorical variables: what the columns mean.
    """

    name: str
    published: str
    normal: float | str
    items: tuple[Item, ...]
    limits: Range | None = None
    columns: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()

    @property
    def width(self) -> int:
        """Number of value columns."""
        return len(self.columns) or 1


def _chart(*itemids: int) -> tuple[Item, ...]:
    return tuple(Item(itemid) for itemid in itemids)


def _lab(*itemids: int) -> tuple[Item, ...]:
    return tuple(Item(itemid, "lab") for itemid in itemids)


def _other_fluid(*itemids: int) -> tuple[Item, ...]:
    return tuple(Item(itemid, "lab", sound=False) for itemid in itemids)


# in alphabetical order of the published names: this is the order of the columns
VARIABLES: tuple[Variable, ...] = (
    Variable(
        "capillary_refill",
        "Capillary refill rate",
        "0.0",
        (Item(223951, peer=False), Item(224308, peer=False)),  # right, left
        columns=("0.0", "1.0"),
        categories=(
            Category("0.0", 0, ("Normal <3 Seconds", "Normal <3 secs", "Brisk")),
            Category("1.0", 1, ("Abnormal >3 Seconds", "Abnormal >3 secs", "Delayed")),
        ),
    ),
    Variable(
        "dbp",
        "Diastolic blood pressure",
        59.0,
        (*_chart(220051, 220180, 224643, 225310), Item(227242, peer=False)),  # the last: manual cuff, right arm
        limits=Range(0, 0, 375, 375),
    ),
    Variable(
        "fio2",
        "Fraction inspired oxygen",
        0.21,
        (Item(223835, conversion=Conversion.PERCENT),),
        limits=Range(0.2, 0.21, 1.0, 1.1),
    ),
    Variable(
        "gcs_eye",
        "Glascow coma scale eye opening",
        "4 Spontaneously",
        _chart(220739),
        columns=(
            "To Pain",
            "3 To speech",
            "1 No Response",
            "4 Spontaneously",
            "None",  # a score, not a missing value
            "To Speech",
            "Spontaneously",
            "2 To pain",
        ),
        categories=(
            Category("Spontaneously", 4, ("4 Spontaneously",)),
            Category("To Speech", 3, ("3 To speech",)),
            Category("To Pain", 2, ("2 To pain",)),
            Category("None", 1, ("1 No Response",)),
        ),
    ),
    Variable(
        "gcs_motor",
        "Glascow coma scale motor response",
        "6 Obeys Commands",
        _chart(223901),
        columns=(
            "1 No Response",
            "3 Abnorm flexion",
            "Abnormal extension",
            "No response",
            "4 Flex-withdraws",
            "Localizes Pain",
            "Flex-withdraws",
            "Obeys Commands",
            "Abnormal Flexion",
            "6 Obeys Commands",
            "5 Localizes Pain",
            "2 Abnorm extensn",
        ),
        categories=(
            Category("Obeys Commands", 6, ("6 Obeys Commands",)),
            Category("Localizes Pain", 5, ("5 Localizes Pain",)),
            Category("Flex-withdraws", 4, ("4 Flex-withdraws",)),
            Category("Abnormal Flexion", 3, ("3 Abnorm flexion",)),
            Category("Abnormal extension", 2, ("2 Abnorm extensn",)),
            Category("No response", 1, ("1 No Response",)),
        ),
    ),
    Variable(
        "gcs_total",
        "Glascow coma scale total",
        "15",
        (),  # MIMIC-IV has no item for it
        columns=("11", "10", "13", "12", "15", "14", "3", "5", "4", "7", "6", "9", "8"),
        categories=tuple(Category(str(score), score) for score in range(3, 16)),
    ),
    Variable(
        "gcs_verbal",
        "Glascow coma scale verbal response",
        "5 Oriented",
        _chart(223900),
        columns=(
            "1 No Response",
            "No Response",
            "Confused",
            "Inappropriate Words",
            "Oriented",
            "No Response-ETT",
            "5 Oriented",
            "Incomprehensible sounds",
            "1.0 ET/Trach",
            "4 Confused",
            "2 Incomp sounds",
            "3 Inapprop words",
        ),
        categories=(
            Category("Oriented", 5, ("5 Oriented",)),
            Category("Confused", 4, ("4 Confused",)),
            Category("Inappropriate Words", 3, ("3 Inapprop words",)),
            Category("Incomprehensible sounds", 2, ("2 Incomp sounds",)),
            Category("No Response", 1, ("1 No Response",)),
            Category("No Response-ETT", 1, ("1.0 ET/Trach",)),  # cannot speak: a tube, not the brain
        ),
    ),
    Variable(
        "glucose",
        "Glucose",
        128.0,
        (
            *_chart(220621, 225664, 226537),
            *_lab(50809, 50931),
            Item(52027, "lab", peer=False),  # whole blood, from the blood gas
            Item(52569, "lab", peer=False),  # second chemistry number of serum glucose
            *_other_fluid(51478),  # urine
        ),
        limits=Range(0, 33, 2000, 2200),
    ),
    Variable("heart_rate", "Heart Rate", 86.0, _chart(220045), limits=Range(0, 0, 350, 390)),
    Variable(
        "height",
        "Height",
        170.0,
        (Item(226707, conversion=Conversion.INCH), Item(226730)),
        limits=Range(0, 0, 240, 275),
    ),
    Variable(
        "mbp",
        "Mean blood pressure",
        77.0,
        _chart(220052, 220181, 224322, 225312),
        limits=Range(0, 14, 330, 375),
    ),
    Variable(
        "spo2",
        "Oxygen saturation",
        98.0,
        (
            Item(220227, conversion=Conversion.FRACTION_TO_PERCENT),
            Item(220277, conversion=Conversion.FRACTION_TO_PERCENT),
            Item(50817, "lab", Conversion.FRACTION_TO_PERCENT),
        ),
        limits=Range(0, 0, 100, 150),
    ),
    Variable(
        "resp_rate",
        "Respiratory rate",
        19.0,
        # monitored, then total; the spontaneous rate is 0 in ventilated patients
        (Item(220210), Item(224690, rank=1), Item(224422, rank=2), Item(224689, rank=2)),
        limits=Range(0, 0, 300, 330),
    ),
    Variable(
        "sbp",
        "Systolic blood pressure",
        118.0,
        _chart(220050, 220179, 224167, 225309, 227243),
        limits=Range(0, 0, 375, 375),
    ),
    Variable(
        "temperature",
        "Temperature",
        36.6,
        (
            Item(223761, conversion=Conversion.FAHRENHEIT),
            Item(223762, conversion=Conversion.FAHRENHEIT_IF_HOT),
        ),
        limits=Range(14.2, 26, 45, 47),
    ),
    Variable(
        "weight",
        "Weight",
        81.0,
        (Item(224639), Item(226512), Item(226531, conversion=Conversion.POUND)),
        limits=Range(0, 0, 250, 250),
    ),
    Variable(
        "ph",
        "pH",
        7.4,
        (
            *_chart(220274, 223830),
            *_lab(50820),
            *_other_fluid(50831, 51094, 51491),  # another body fluid, urine, urine
        ),
        limits=Range(6.3, 6.3, 8.4, 10),
    ),
)

NAMES: tuple[str, ...] = tuple(variable.name for variable in VARIABLES)
GCS_PARTS = ("gcs_eye", "gcs_motor", "gcs_verbal")


def _value_columns(variable: Variable) -> Iterator[str]:
    if not variable.columns:
        yield variable.published
    for column in variable.columns:
        yield f"{variable.published}->{column}"


COLUMNS: tuple[str, ...] = (
    *(column for variable in VARIABLES for column in _value_columns(variable)),
    *(f"mask->{variable.published}" for variable in VARIABLES),
)
CONTINUOUS: tuple[bool, ...] = (
    *(not variable.columns for variable in VARIABLES for _ in range(variable.width)),
    *(False for _ in VARIABLES),
)
"""True for the 12 of the 76 columns that hold a continuous value, and so are standardised."""
