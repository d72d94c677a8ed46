"""The rule on results from elsewhere: a long table of scores in, a leaderboard out, and every fault of the table named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fusionbench.commands.score_table import compare_scores
from fusionbench.errors import DataError
from tests.front import fusionbench


def table(lines=("good", "fair", "chance"), folds=3, seeds=2, rows=80, **more):
    """Predictions of lines that are worse from one to the next."""
    draw = np.random.default_rng(0)
    parts = []
    for fold in range(folds):
        target = (draw.random(rows) < 0.4).astype(int)
        for seed in range(seeds):
            for i, line in enumerate(lines):
                score = draw.normal(size=rows) + (2 - i) * target
                parts.append(
                    pd.DataFrame(
                        {
                            "line": line,
                            "fold": fold,
                            "seed": seed,
                            "row": fold * rows + np.arange(rows),
                            "target": target,
                        }
                        | {"score": score}
                        | more
                    )
                )
    return pd.concat(parts, ignore_index=True)


def written(folder, frame, name="scores.csv"):
    path = folder / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_a_table_is_judged(tmp_path, name):
    frame = table()
    said = "\n".join(compare_scores(written(tmp_path, frame, name), "auroc"))
    means = frame.groupby(["line", "fold", "seed"])[["target", "score"]].apply(
        lambda f: roc_auc_score(f["target"], f["score"])
    )
    for line, value in means.groupby("line").mean().items():
        assert f"{value:.3f}".replace("0.", ".") in said, line
    groups = {w.split()[1]: w.split()[0] for w in said.splitlines() if w.strip().startswith(("1 ", "2 ", "3 "))}
    assert groups == {"good": "1", "fair": "2", "chance": "3"}
    assert "3 lines, 3 folds x 2 seeds, AUROC" in said
    assert "good minus each other line" in said


def test_the_command_takes_a_table(tmp_path):
    found = fusionbench("compare", written(tmp_path, table()))
    assert found.code == 0, found.err
    assert "group 1: could be the best if trained again" in found.out


def test_the_order_of_lines_in_the_file_changes_nothing(tmp_path):
    frame = table()
    shuffled = frame.sample(frac=1, random_state=0)
    first, second = (
        list(compare_scores(written(tmp_path, f, n), "auroc")) for f, n in ((frame, "a.csv"), (shuffled, "b.csv"))
    )
    assert sorted(first[1:]) == sorted(second[1:])


def test_rows_of_a_patient_count_together(tmp_path):
    frame = table()
    doubled = pd.concat(
        [frame.assign(patient=frame["row"]), frame.assign(patient=frame["row"], row=frame["row"] + 1000)]
    )
    one = list(compare_scores(written(tmp_path, frame, "a.csv"), "auroc"))
    two = list(compare_scores(written(tmp_path, doubled, "b.csv"), "auroc"))
    assert one[1:5] == two[1:5], "the same patients twice say nothing new"


def test_conditions_are_weighed(tmp_path):
    frame = table(lines=("good", "fair"))
    worse = frame.assign(score=frame["score"] * 0, condition="b", weight=1.0)
    both = pd.concat([frame.assign(condition="a", weight=3.0), worse])
    said = "\n".join(compare_scores(written(tmp_path, both), "auroc"))
    means = frame.groupby(["line", "fold", "seed"])[["target", "score"]].apply(
        lambda f: roc_auc_score(f["target"], f["score"])
    )
    assert f"{0.75 * means['good'].mean() + 0.125:.3f}".replace("0.", ".") in said


def test_a_single_fold_and_seed_has_no_groups(tmp_path):
    said = "\n".join(compare_scores(written(tmp_path, table(folds=1, seeds=1)), "auroc"))
    assert "One fold and one seed" in said


def test_gaps_are_named(tmp_path):
    frame = table()
    gap = frame[~((frame["line"] == "fair") & (frame["seed"] == 1))]
    assert "not compared: seed 1: not every line has every fold there" in list(
        compare_scores(written(tmp_path, gap), "auroc")
    )
    assert any(
        "One" not in w and "not compared: line fair" in w
        for w in compare_scores(written(tmp_path, frame[(frame["line"] != "fair") | (frame["fold"] == 0)]), "auroc")
    )


BAD = {
    "a column is missing": (lambda f: f.drop(columns="row"), "column 'row' is missing"),
    "a column is misspelt": (
        lambda f: f.rename(columns={"score": "scores"}),
        "column 'score' is missing; did you mean 'scores'",
    ),
    "a column is unknown": (lambda f: f.assign(model=1), "column 'model' has no meaning here"),
    "cells are empty": (lambda f: f.assign(score=f["score"].where(f.index > 3)), "column 'score' has 4 empty cells"),
    "scores are words": (lambda f: f.assign(score="high"), "cells that are no finite number"),
    "targets are classes": (lambda f: f.assign(target=f["target"] + 1), "other values than 0 and 1"),
    "a prediction twice": (lambda f: pd.concat([f, f.iloc[:2]]), "2 predictions are there twice"),
    "targets differ": (
        lambda f: f.assign(target=f["target"].where(f.index > 0, 1 - f["target"])),
        "have several targets",
    ),
    "patients cross folds": (lambda f: f.assign(patient=1), "are in the test rows of several folds"),
    "rows differ": (lambda f: f.drop(index=3), "not every line, seed and condition has the same test rows"),
    "weights differ": (lambda f: f.assign(weight=range(len(f))), "column 'weight' must hold one number"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_fault_of_a_table_is_named(tmp_path, case):
    spoil, message = BAD[case]
    with pytest.raises(DataError, match=message):
        list(compare_scores(written(tmp_path, spoil(table())), "auroc"))


def test_several_faults_are_named_at_once(tmp_path):
    frame = table().assign(target=2).rename(columns={"seed": "repetition"}).drop(columns="fold")
    with pytest.raises(DataError) as problem:
        list(compare_scores(written(tmp_path, frame), "auroc"))
    assert "column 'seed' is missing" in str(problem.value)
    assert "column 'fold' is missing" in str(problem.value)


def test_probabilities_are_asked_for_where_they_are_read(tmp_path):
    with pytest.raises(DataError, match="leaves 0 to 1, and Brier score reads probabilities"):
        list(compare_scores(written(tmp_path, table()), "brier"))
    frame = table()
    squashed = frame.assign(score=1 / (1 + np.exp(-frame["score"])))
    assert "Brier score" in "\n".join(compare_scores(written(tmp_path, squashed), "brier"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs"], "compare needs two runs, found one"),
        (["a.csv", "b.csv"], "a table of scores, which is judged alone"),
        (["a.csv", "--metric", "aucroc"], "no metric named 'aucroc'"),
    ],
)
def test_wrong_calls_say_what_is_accepted(tmp_path, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, table(), "a.csv")
    found = fusionbench("compare", *arguments)
    assert found.code == 2
    assert message in " ".join(found.err.split())
