"""OmniFuse: four tables and five figures on mortality, phenotyping and lung cancer subtypes.

Paper: Wu et al. 2025, OmniFuse, Information Fusion 117:102890. All values are from the paper's own text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from fusionbench import Paper, PaperPart, hookimpl
from fusionbench.hookspecs import Register
from fusionbench_plugins.papers._files import benchmarks

_COMMON: Mapping[str, Any] = {"splits.folds": 5, "tuning.trials": 0}
_MIMIC: Mapping[str, Any] = {
    **_COMMON,
    "task.step_hours": 2,
    "task.image_size": 224,
    "encoders.cxr.model": "resnet34",
    "encoders.report.model": "bert-base-uncased",
    "encoders.report.frozen": True,
    "encoders.report.max_length": 150,
}
_PATIENTS = "patients of MIMIC; release, splits and numbers of stays are not those of the paper, which gives none"
_BY_MODALITIES = (
    (
        "Each set of modalities has models of its own here, which never see the others; the paper does not say "
        "whether its models for two modalities were trained on two."
    ),
)
_RATE_OF_TRAINING = (
    (
        "The paper does not say whether training met absences at the same rate. Here models are trained on the "
        "record as it is, and meet the rate in use (missingness.where: test); --set missingness.where=both trains"
        " them at the same rate."
    ),
)
_CURVES = ("Differences as more is missing", "Degradation curves")


class OmniFuse(Paper):
    """DWFuse, TLA and cross-modal imputation, against seven fusion methods."""

    title: ClassVar[str] = "OmniFuse"
    citation: ClassVar[str] = (
        "Wu et al. 2025, OmniFuse: A general modality fusion framework for multi-modality learning on low-quality"
        " medical data, Information Fusion 117:102890"
    )
    published: ClassVar[Path | None] = Path(__file__).with_suffix(".csv")
    folder: ClassVar[Path | None] = benchmarks()
    settings: ClassVar[Sequence[str]] = (
        "EHR: 17 variables, one value every 2 h, 76 columns, 48 h.",
        (
            "Report: the Findings section, 10 to 280 words, cut or padded to 150 words; bert-base-uncased, frozen"
            " (fine-tuning was worse), a vector of 768 numbers for each token."
        ),
        "Chest X-ray: 224 x 224, ResNet-34, 512 numbers after average pooling.",
        (
            "CT and PET: two-dimensional slices along z, ResNet-34; a report in Chinese of 996 to 1,748 "
            "characters, padded to 1,748, which is longer than the 512 tokens that BERT reads: how it was cut, "
            "the paper does not say."
        ),
        (
            "Lung: six pathological classes (AAH, AIS, MIA, IA grade 1, 2, 3) in three risk levels: L1 = AAH, "
            "AIS; L2 = MIA, IA 1; L3 = IA 2, IA 3."
        ),
        "Five residual autoencoders; alpha .1, beta .5; lambda 1, 10, .5.",
        "Five-fold cross-validation, paired t-test, p < .05.",
        "The options of every method are those of its own paper; only the fusion method is exchanged.",
    )
    parts: ClassVar[Sequence[PaperPart]] = (
        PaperPart(
            "headline",
            "From concatenation to all of OmniFuse",
            files=("omnifuse/table4.yaml", "omnifuse/table4_lung.yaml"),
            shows="The numbers of the abstract: concatenation of all three modalities, and all four components.",
        ),
        PaperPart(
            "table 1",
            "What a method can do in which scenario",
            files=("omnifuse/table1.yaml",),
            sections=("Modality subsets",),
            shows="Scenarios of missing modalities; what the table holds is not at hand. Here every method is "
            "scored on every subset of the modalities.",
            open=("A scenario of the paper is read as a subset of modalities that is there when the model is used.",),
        ),
        PaperPart(
            "table 2",
            "Laziness: concatenation against the best single modality",
            files=(
                "omnifuse/table2.yaml",
                "omnifuse/table2_phenotyping.yaml",
                "omnifuse/table2_lung.yaml",
            ),
            shows="The drop is fused minus best single modality, which elsewhere here is called fusion deficit, "
            "with the other sign. It is not what this program calls laziness drop.",
            open=_BY_MODALITIES,
        ),
        PaperPart(
            "table 3",
            "Eight fusion methods on four sets of modalities",
            files=("omnifuse/table3.yaml",),
            against="dwfuse",
            shows="AUROC of in-hospital mortality. Stars are the paper's: a paired t-test over five folds.",
            open=(
                *_BY_MODALITIES,
                (
                    "Whether imputation and TLA were active for the methods that are compared, the paper does not"
                    " say; here they are not."
                ),
            ),
        ),
        PaperPart(
            "table 4",
            "Which component does what",
            files=(
                "omnifuse/table4.yaml",
                "omnifuse/table4_lung.yaml",
            ),
            sections=("Ablation",),
            shows="AUROC with DWFuse, TLA, IMP-forward and IMP-backward, one after the other.",
            open=(
                (
                    "Rows (d) and (e) have three of four components each, and which ones is lost in the text. Row"
                    " (d) is read as DWFuse, TLA and IMP-forward, after the prose (inferred); row (e) as DWFuse, "
                    "IMP-forward and IMP-backward (inferred, less certain)."
                ),
                *_BY_MODALITIES,
            ),
        ),
        PaperPart(
            "figure 2",
            "Validation score by epoch: each modality alone, concatenation, DWFuse",
            files=("omnifuse/fig2.yaml",),
            sections=("Validation score over epochs",),
            shows="Curves without numbers.",
            open=("With which options the curves were made is not at hand; here they are the file's.",),
        ),
        PaperPart(
            "figure 4",
            "One modality missing, or any one of them",
            files=("omnifuse/fig4.yaml",),
            sections=_CURVES,
            shows="AUROC against the rate 0 to .9 at which X-ray, report, EHR or one of them, drawn at random, is"
            " missing. EHR falls most. No numbers are printed.",
            open=_RATE_OF_TRAINING,
        ),
        PaperPart(
            "figure 5",
            "With and without imputation, by combination",
            files=("omnifuse/fig5.yaml",),
            sections=_CURVES,
            shows="AUROC against the rate. With two given modalities the third is always absent, and is imputed, "
            "also at rate 0. No numbers are printed.",
            open=(
                *_RATE_OF_TRAINING,
                "Models are trained on all three modalities here, so that the one that is always absent can be imputed.",
            ),
        ),
        PaperPart(
            "figure 6",
            "With and without imputation, by rate",
            files=("omnifuse/fig6.yaml",),
            sections=_CURVES,
            shows="The same as figure 5, drawn by rate. In the text: with imputation all three start near .87 and"
            " stay above .86 at 90 %; without, they fall to about .83.",
            open=_RATE_OF_TRAINING,
        ),
        PaperPart(
            "figure 7",
            "Similarity of imputed and true embeddings, and AUROC, by epoch",
            files=("omnifuse/fig7.yaml",),
            sections=("Imputation over training",),
            shows="Similarity and AUROC rise together over training. No numbers are printed, and which similarity"
            " it is, is not said.",
            open=(
                (
                    "Similarity is read as 1 less the relative error of what is imputed; a cosine would be high for the mean"
                    " embedding too, which knows nothing of a row."
                ),
            ),
        ),
        PaperPart(
            "figure 8",
            "Where imputed embeddings lie beside the true ones",
            files=("omnifuse/fig8.yaml",),
            sections=("Original and imputed embeddings",),
            shows="A t-SNE map of true and imputed embeddings of each modality.",
            open=(
                (
                    "A t-SNE map draws single patients. Here both are counted on a grid over principal components; no t-SNE is"
                    " drawn."
                ),
            ),
        ),
    )
    protocol: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mimic_ihm": _MIMIC,
        "mimic_phenotyping": _MIMIC,
        "lung_subtyping": {
            **_COMMON,
            "task.image_size": 224,
            "task.risk_levels": True,
            "encoders.ct.model": "resnet34",
            "encoders.pet.model": "resnet34",
        },
    }
    cohorts: ClassVar[Mapping[str, str]] = {
        "mimic_ihm": _PATIENTS,
        "mimic_phenotyping": _PATIENTS,
        "lung_subtyping": "other patients: the paper's lung cohort is not public",
    }


@hookimpl
def register_papers(register: Register) -> None:
    """Register ``omnifuse``."""
    register("omnifuse", OmniFuse)
