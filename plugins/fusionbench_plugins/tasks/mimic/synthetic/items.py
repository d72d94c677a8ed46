"""Item ids, labels, units and diagnosis codes that the synthetic tables use.

Facts from the item tables of the open MIMIC-IV demo v2.2 and from AHRQ's CCS (2015 for ICD-9, 2019.1
for ICD-10); phenotype shares are near those that Harutyunyan et al. 2019 report for MIMIC-III.
"""

from __future__ import annotations

from typing import NamedTuple


class ChartItem(NamedTuple):
    """A row of ``icu/d_items``; ``unit`` is what the events carry."""

    itemid: int
    label: str
    abbreviation: str
    linksto: str
    category: str
    unit: str
    param_type: str = "Numeric"


class LabItem(NamedTuple):
    """A row of ``hosp/d_labitems``, with unit and reference range of its results."""

    itemid: int
    label: str
    fluid: str
    category: str
    unit: str
    low: float
    high: float


class Phenotype(NamedTuple):
    """One of the 25 groups: its share, what drives it, and codes that belong to it.

    ``loadings`` are for severity (the evidence of the EHR) and for ``latents.FACTORS``, in that order.
    ``recent`` are ICD-10 codes that only MIMIC-IV 3.1 holds (in force after 2019).
    """

    name: str
    share: float
    loadings: tuple[float, ...]
    icd9: tuple[str, ...]
    icd10: tuple[str, ...]
    recent: tuple[str, ...] = ()


_VITAL, _BREATH, _LAB, _BODY, _NEURO = "Routine Vital Signs", "Respiratory", "Labs", "General", "Neurological"
_PULSES, _ALARM, _OUTPUT = "Cardiovascular (Pulses)", "Alarms", "Output"

CHART_ITEMS = (
    ChartItem(220045, "Heart Rate", "HR", "chartevents", _VITAL, "bpm"),
    ChartItem(220046, "Heart rate Alarm - High", "HR Alarm - High", "chartevents", _ALARM, "bpm"),
    ChartItem(220047, "Heart Rate Alarm - Low", "HR Alarm - Low", "chartevents", _ALARM, "bpm"),
    ChartItem(220048, "Heart Rhythm", "Heart Rhythm", "chartevents", _VITAL, "", "Text"),
    ChartItem(220050, "Arterial Blood Pressure systolic", "ABPs", "chartevents", _VITAL, "mmHg"),
    ChartItem(220051, "Arterial Blood Pressure diastolic", "ABPd", "chartevents", _VITAL, "mmHg"),
    ChartItem(220052, "Arterial Blood Pressure mean", "ABPm", "chartevents", _VITAL, "mmHg"),
    ChartItem(220179, "Non Invasive Blood Pressure systolic", "NBPs", "chartevents", _VITAL, "mmHg"),
    ChartItem(220180, "Non Invasive Blood Pressure diastolic", "NBPd", "chartevents", _VITAL, "mmHg"),
    ChartItem(220181, "Non Invasive Blood Pressure mean", "NBPm", "chartevents", _VITAL, "mmHg"),
    ChartItem(220210, "Respiratory Rate", "RR", "chartevents", _BREATH, "insp/min"),
    ChartItem(220277, "O2 saturation pulseoxymetry", "SpO2", "chartevents", _BREATH, "%"),
    ChartItem(220621, "Glucose (serum)", "Glucose (serum)", "chartevents", _LAB, "mg/dL"),
    ChartItem(220739, "GCS - Eye Opening", "Eye Opening", "chartevents", _NEURO, "", "Text"),
    ChartItem(223761, "Temperature Fahrenheit", "Temperature F", "chartevents", _VITAL, "°F"),
    ChartItem(223762, "Temperature Celsius", "Temperature C", "chartevents", _VITAL, "°C"),
    ChartItem(223830, "PH (Arterial)", "PH (Arterial)", "chartevents", _LAB, "units"),
    ChartItem(223835, "Inspired O2 Fraction", "FiO2", "chartevents", _BREATH, ""),
    ChartItem(223900, "GCS - Verbal Response", "Verbal Response", "chartevents", _NEURO, "", "Text"),
    ChartItem(223901, "GCS - Motor Response", "Motor Response", "chartevents", _NEURO, "", "Text"),
    ChartItem(223951, "Capillary Refill R", "Capillary Refill R", "chartevents", _PULSES, "", "Text"),
    ChartItem(224308, "Capillary Refill L", "Capillary Refill L", "chartevents", _PULSES, "", "Text"),
    ChartItem(224639, "Daily Weight", "Daily Weight", "chartevents", _BODY, "kg"),
    ChartItem(225664, "Glucose finger stick (range 70-100)", "Glucose FS", "chartevents", _LAB, ""),
    ChartItem(226512, "Admission Weight (Kg)", "Admission Weight (Kg)", "chartevents", _BODY, "kg"),
    ChartItem(226531, "Admission Weight (lbs.)", "Admission Weight (lbs.)", "chartevents", _BODY, ""),
    ChartItem(226559, "Foley", "Foley", "outputevents", _OUTPUT, "ml"),
    ChartItem(226560, "Void", "Void", "outputevents", _OUTPUT, "ml"),
    ChartItem(226707, "Height", "Height", "chartevents", _BODY, "Inch"),
    ChartItem(226730, "Height (cm)", "Height (cm)", "chartevents", _BODY, "cm"),
)

LAB_ITEMS = (
    LabItem(50813, "Lactate", "Blood", "Blood Gas", "mmol/L", 0.5, 2),
    LabItem(50820, "pH", "Blood", "Blood Gas", "units", 7.35, 7.45),
    LabItem(50912, "Creatinine", "Blood", "Chemistry", "mg/dL", 0.5, 1.2),
    LabItem(50931, "Glucose", "Blood", "Chemistry", "mg/dL", 70, 100),
    LabItem(50971, "Potassium", "Blood", "Chemistry", "mEq/L", 3.3, 5.1),
    LabItem(50983, "Sodium", "Blood", "Chemistry", "mEq/L", 133, 145),
    LabItem(51301, "White Blood Cells", "Blood", "Hematology", "K/uL", 4, 10),
    LabItem(51491, "pH", "Urine", "Hematology", "units", 5, 8),
)

EYES = ((1, "None"), (2, "To Pain"), (3, "To Speech"), (4, "Spontaneously"))
VERBAL = (
    (1, "No Response"),
    (2, "Incomprehensible sounds"),
    (3, "Inappropriate Words"),
    (4, "Confused"),
    (5, "Oriented"),
)
TUBED = (1, "No Response-ETT")
MOTOR = (
    (1, "No response"),
    (2, "Abnormal extension"),
    (3, "Abnormal Flexion"),
    (4, "Flex-withdraws"),
    (5, "Localizes Pain"),
    (6, "Obeys Commands"),
)
REFILL = ("Normal <3 Seconds", "Abnormal >3 Seconds")

CARE_UNITS = (
    "Medical Intensive Care Unit (MICU)",
    "Surgical Intensive Care Unit (SICU)",
    "Cardiac Vascular Intensive Care Unit (CVICU)",
    "Medical/Surgical Intensive Care Unit (MICU/SICU)",
    "Trauma SICU (TSICU)",
    "Coronary Care Unit (CCU)",
)

# loadings:            severity, cardiac, respiratory, renal, metabolic, neurologic
PHENOTYPES = (
    Phenotype("Acute and unspecified renal failure", 0.21, (0.8, 0, 0, 1.3, 0, 0), ("5849", "5845"), ("N179", "N170")),
    Phenotype("Acute cerebrovascular disease", 0.08, (0.2, 0, 0, 0, 0, 1.8), ("430", "431", "43491"), ("I6340",)),
    Phenotype("Acute myocardial infarction", 0.10, (0.3, 1.4, 0, 0, 0, 0), ("41001",), ("I214", "I2109")),
    Phenotype(
        "Cardiac dysrhythmias", 0.32, (0.3, 1.2, 0, 0, 0, 0), ("42731", "4271"), ("I4891", "R000"), ("I4820", "I4811")
    ),
    Phenotype("Chronic kidney disease", 0.13, (0, 0.2, 0, 1.7, 0, 0), ("5859", "5853"), ("N183", "N189"), ("N1830",)),
    Phenotype(
        "Chronic obstructive pulmonary disease and bronchiectasis",
        0.13,
        (0, 0, 1.6, 0, 0, 0),
        ("496", "49121"),
        ("J449", "J410"),
    ),
    Phenotype(
        "Complications of surgical procedures or medical care", 0.21, (0.4, 0, 0.2, 0, 0, 0), ("45829",), ("I9581",)
    ),
    Phenotype("Conduction disorders", 0.07, (0, 1.0, 0, 0, 0, 0), ("42612", "4264"), ("Z950",)),
    Phenotype(
        "Congestive heart failure; nonhypertensive",
        0.27,
        (0.2, 1.6, 0, 0.2, 0, 0),
        ("4280", "42823"),
        ("I5023", "I509"),
    ),
    Phenotype(
        "Coronary atherosclerosis and other heart disease", 0.32, (0, 1.4, 0, 0, 0.3, 0), ("41401",), ("I2510", "I252")
    ),
    Phenotype("Diabetes mellitus with complications", 0.10, (0, 0, 0, 0.5, 1.5, 0), ("25062", "25012"), ("E1165",)),
    Phenotype("Diabetes mellitus without complication", 0.19, (0, 0, 0, 0, 1.6, 0), ("25000",), ("E119",)),
    Phenotype("Disorders of lipid metabolism", 0.29, (0, 0.5, 0, 0, 0.9, 0), ("2724", "2720"), ("E785",)),
    Phenotype("Essential hypertension", 0.42, (0, 0.8, 0, -0.4, 0.4, 0), ("4019",), ("I10",)),
    Phenotype("Fluid and electrolyte disorders", 0.27, (0.5, 0, 0, 0.8, 0, 0), ("2761", "2767"), ("E871", "E875")),
    Phenotype("Gastrointestinal hemorrhage", 0.07, (0.4, 0, 0, 0, -0.3, 0), ("5789",), ("K922", "K921")),
    Phenotype(
        "Hypertension with complications and secondary hypertension",
        0.13,
        (0, 0.6, 0, 1.5, 0, 0),
        ("40390",),
        ("I129",),
    ),
    Phenotype("Other liver diseases", 0.09, (0.5, 0, 0, 0.3, 0.3, 0), ("5715", "78959"), ("K7469", "K766")),
    Phenotype("Other lower respiratory disease", 0.05, (0.2, 0, 1.0, 0, 0, 0), ("5184", "79311"), ("J810",)),
    Phenotype("Other upper respiratory disease", 0.04, (0, 0, 0.9, 0, 0, 0.3), ("78442",), ("J9809",)),
    Phenotype("Pleurisy; pneumothorax; pulmonary collapse", 0.09, (0.3, 0, 1.0, 0, 0, 0), ("5119", "5180"), ("J942",)),
    Phenotype(
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
        0.14,
        (0.5, 0, 1.3, 0, 0, 0),
        ("486", "4820"),
        ("J189", "J159"),
    ),
    Phenotype(
        "Respiratory failure; insufficiency; arrest (adult)",
        0.18,
        (1.0, 0, 1.2, 0, 0, 0),
        ("51881",),
        ("J9600", "J9601"),
    ),
    Phenotype("Septicemia (except in labor)", 0.14, (1.2, 0, 0, 0.4, 0, 0), ("99591", "0389"), ("A419", "A4151")),
    Phenotype("Shock", 0.08, (1.5, 0.3, 0, 0, 0, 0), ("78552", "78551"), ("R6521", "R570")),
)

OTHER_CODES = {9: ("V1582", "53081", "2859"), 10: ("Z87891", "K219", "D649")}
"""Codes outside the 25 groups: every admission has one at least."""

CODE_TITLES = {
    "V1582": "Personal history of tobacco use",
    "53081": "Esophageal reflux",
    "2859": "Anemia, unspecified",
    "Z87891": "Personal history of nicotine dependence",
    "K219": "Gastro-esophageal reflux disease without esophagitis",
    "D649": "Anemia, unspecified",
}
