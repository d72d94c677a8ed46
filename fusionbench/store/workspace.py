"""Where things lie in a workspace: each of its folders is named here, and nowhere else."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ResultFolders:
    """The folders of a result store.

    Args:
        root: Folder of the store.
    """

    root: Path

    @property
    def fits(self) -> Path:
        """Trained models: what they were, and what they predicted."""
        return self.root / "fits"

    @property
    def weights(self) -> Path:
        """Parameters of trained models, where they are kept."""
        return self.root / "weights"

    @property
    def studies(self) -> Path:
        """Journals of searches, and what they found."""
        return self.root / "studies"

    @property
    def failures(self) -> Path:
        """Why a model could not be trained."""
        return self.root / "failures"

    @property
    def masks(self) -> Path:
        """Who was present under each condition."""
        return self.root / "masks"

    @property
    def maps(self) -> Path:
        """Where imputed embeddings lie, as counts."""
        return self.root / "maps"

    @property
    def tables(self) -> Path:
        """Tables that were made from the same results before."""
        return self.root / "tables"

    @property
    def written(self) -> Path:
        """Hashes of what was written into the folders of reports."""
        return self.root / "written"

    @property
    def tracked(self) -> Path:
        """What is logged to MLflow already."""
        return self.root / "tracked"

    @property
    def salt(self) -> Path:
        """What numbers of rows are hashed with before they are logged; a file for its owner only."""
        return self.root / "salt"


@dataclass(frozen=True)
class Workspace:
    """The folder of cache, results, tracking and reports; nothing in it need be there yet.

    Args:
        root: The folder.
    """

    root: Path

    def __post_init__(self) -> None:
        """Be the same folder whatever the working folder is later."""
        object.__setattr__(self, "root", self.root.absolute())

    @classmethod
    def of_report(cls, folder: Path) -> Workspace:
        """Return the workspace that a report's folder lies in."""
        return cls(folder.resolve().parents[1])

    @property
    def results(self) -> ResultFolders:
        """The result store."""
        return ResultFolders(self.root / "results")

    @property
    def holds_results(self) -> bool:
        """Whether a result store was made here."""
        return self.results.fits.is_dir()

    @property
    def cache(self) -> Path:
        """What can be made again from the data."""
        return self.root / "cache"

    @property
    def features(self) -> Path:
        """What frozen encoders say of each row."""
        return self.cache / "features"

    @property
    def prepared(self) -> Path:
        """What models are trained from, ready for other processes."""
        return self.cache / "prepared"

    @property
    def executions(self) -> Path:
        """What executors leave of work that goes on elsewhere: numbers of jobs, their logs."""
        return self.root / "executions"

    def task(self, name: str) -> Path:
        """Return the folder that a task prepares its data in."""
        return self.cache / "tasks" / name

    @property
    def reports(self) -> Path:
        """Reports, a folder for each benchmark."""
        return self.root / "reports"

    def report(self, name: str) -> Path:
        """Return the folder of a benchmark's report, or of a picture of a task's data."""
        return self.reports / name

    @property
    def database(self) -> Path:
        """What MLflow keeps where no server is named."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Files that MLflow keeps with it."""
        return self.root / "mlartifacts"

    def keep_private(self) -> None:
        """Let nobody but the owner read what is here and what this process writes from now on: it is about people.

        A folder with the set-group bit was made to be shared: then its group may read, and nobody else.
        """
        group = self.root.is_dir() and bool(self.root.stat().st_mode & stat.S_ISGID)
        others = 0o007 if group else 0o077
        os.umask(others)
        if not self.root.is_dir():
            return
        own = {self.results.root, self.cache, self.executions, self.reports, self.artifacts}
        with os.scandir(self.root) as entries:
            found = [Path(entry.path) for entry in entries]
        mine = [p for p in found if p in own or p.name.lstrip(".").startswith(self.database.name)]
        for path in mine:
            _withdraw(path, others)
        if all(p in mine or p.name.startswith(".") for p in found):  # else it is a folder of other things too
            _withdraw_one(self.root, others)


def _withdraw(path: Path, others: int) -> None:
    """Take rights away from a file, or from a folder and all that is in it; links are not followed."""
    if not path.is_symlink():
        for folder, _, names in os.walk(path):
            for name in (".", *names):
                _withdraw_one(Path(folder, name), others)
        _withdraw_one(path, others)


def _withdraw_one(path: Path, others: int) -> None:
    with suppress(OSError):  # it is somebody else's, or gone
        mode = path.lstat().st_mode
        if mode & others and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~others)
