# What editors and type checkers read: the names are looked up when they are asked for, and these are their types.
from fusionbench.api.memory import dataset as dataset
from fusionbench.api.models import Model as Model
from fusionbench.api.models import fit as fit
from fusionbench.api.results import Results as Results
from fusionbench.api.running import load as load
from fusionbench.api.running import run as run
from fusionbench.contract.batch import Batch as Batch
from fusionbench.contract.batch import FusionOutput as FusionOutput
from fusionbench.contract.batch import FusionSpec as FusionSpec
from fusionbench.contract.batch import HeadSpec as HeadSpec
from fusionbench.contract.batch import InputSpec as InputSpec
from fusionbench.contract.data import Dataset as Dataset
from fusionbench.contract.data import Findings as Findings
from fusionbench.contract.data import FunnelStep as FunnelStep
from fusionbench.contract.data import InputKind as InputKind
from fusionbench.contract.data import Modality as Modality
from fusionbench.contract.data import Task as Task
from fusionbench.contract.learners import CorruptionPolicy as CorruptionPolicy
from fusionbench.contract.learners import Encoder as Encoder
from fusionbench.contract.learners import FittedStrategy as FittedStrategy
from fusionbench.contract.learners import FusionStrategy as FusionStrategy
from fusionbench.contract.learners import Imputer as Imputer
from fusionbench.contract.learners import Predict as Predict
from fusionbench.contract.learners import Provenance as Provenance
from fusionbench.contract.learners import Regulariser as Regulariser
from fusionbench.contract.mechanism import Missingness as Missingness
from fusionbench.contract.mechanism import MissingnessContext as MissingnessContext
from fusionbench.contract.papers import Paper as Paper
from fusionbench.contract.papers import PaperPart as PaperPart
from fusionbench.contract.registration import hookimpl as hookimpl
from fusionbench.contract.stages import SplitLosses as SplitLosses
from fusionbench.contract.stages import Stage as Stage
from fusionbench.contract.stages import TrainingClock as TrainingClock
from fusionbench.contract.stages import Trial as Trial
from fusionbench.targets import TargetKind as TargetKind

__version__: str
