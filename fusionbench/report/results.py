"""The sections that hold results: leaderboard, curves, subsets, ablation, modalities, calibration, ranks, traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from fusionbench.analysis import CEILING
from fusionbench.comparisons import repetition_areas
from fusionbench.metrics import METRICS
from fusionbench.plan import COMPLETE, condition_label
from fusionbench.report import charts, published
from fusionbench.report.blocks import Block, Legend, Picture, Section, Table, Text
from fusionbench.report.words import (
    NOTHING,
    arm_name,
    counted,
    interval,
    listed,
    metric_name,
    number,
    p_value,
    percent,
    seconds,
    signed,
    whole,
)

if TYPE_CHECKING:
    from fusionbench.plan import Arm
    from fusionbench.runner import RunSummary

MOST_GROUPS = 4
"""Groups of lines that get pictures of their own; the numbers of all stand in the tables."""

Line = tuple[str, str, str]


def result_sections(summary: RunSummary) -> Iterator[Section]:
    """Yield the sections that this run has data for."""
    if summary.tables.leaderboard["area"].isna().all():
        return
    makers = (leaderboard, curves, grid, subsets, ablation, modalities, calibration, repetitions, traces)
    yield from (section for make in makers if (section := make(summary)) is not None)


def _ranked(summary: RunSummary) -> pd.DataFrame:
    """The complete lines of the leaderboard."""
    return summary.tables.leaderboard.dropna(subset=["area"]).reset_index(drop=True)


def _lines(frame: pd.DataFrame) -> list[Line]:
    variant = "variant" if "variant" in frame else "trained_at"
    return list(dict.fromkeys(zip(frame["strategy"], frame["imputer"], frame[variant], strict=True)))


def _mark(summary: RunSummary) -> str:
    return "; ".join(summary.plan.ribbons)


def _place(summary: RunSummary) -> dict[Line, int]:
    """Position of each line in the leaderboard."""
    return {line: i for i, line in enumerate(_lines(_ranked(summary)))}


# --------------------------------------------------------------------------------------------
# leaderboard


def leaderboard(summary: RunSummary) -> Section:
    """Ranking with intervals, tie groups and what each line cost."""
    board = summary.tables.leaderboard
    return Section(
        "Leaderboard",
        [Text(verdict(summary)), _ranking_table(summary), _ranking_picture(summary)],
        [Section("Budget ledger", [Text(_BUDGET), _ledger(board)])],
    )


_BUDGET = (
    "Every line had the same number of trials and the same limit of epochs. What it made of them, and what it "
    "took, stands here: epochs "
    "and seconds differ because models stop early and differ in size."
)


def verdict(summary: RunSummary) -> str:
    """Answer the question in one or two sentences."""
    ranked = _ranked(summary)
    metric = metric_name(summary.plan.dataset.metric)
    best = ranked.iloc[0]
    tied = ranked[ranked["tie_group"] == best["tie_group"]]
    name = arm_name(best["strategy"], best["imputer"], best["trained_at"])
    first = f"The highest line is {name}: mean {metric} over all curves {interval(best, 'area')}."
    if not METRICS[summary.plan.dataset.metric].higher_is_better:
        first = first.replace("highest", "lowest", 1)
    if len(ranked) == 1:
        return first
    if len(tied) == len(ranked):
        return f"{first} None of the other lines was shown to differ from it."
    if len(tied) == 1:
        return f"{first} Every other line was shown to differ from it."
    worse = len(ranked) - len(tied)
    return (
        f"{first} {counted(len(tied) - 1, 'line')} {'was' if len(tied) == 2 else 'were'} not shown to differ from "
        "it, "
        f"{counted(worse, 'line')} {'was' if worse == 1 else 'were'}."
    )


def _ranking_table(summary: RunSummary) -> Table:
    plan, board = summary.plan, summary.tables.leaderboard
    metric, rates = plan.dataset.metric, plan.benchmark.missingness.rates
    ends = [f"{metric}@{rate:g}" for rate in dict.fromkeys((rates[0], rates[-1]))]
    extra = [n for n in ("auprc", "brier") if n != metric and f"{n}@{rates[0]:g}" in board]
    regret = "regret" in board
    rows = []
    for _, line in board.iterrows():
        done = line["models"] == line["models_planned"]
        area = interval(line, "area") if done else f"incomplete: {line['models']} of {line['models_planned']} models"
        rows.append(
            [
                str(line["tie_group"] or NOTHING),
                arm_name(line["strategy"], line["imputer"], line["trained_at"]),
                area,
                *(number(line[e]) for e in ends),
                *([number(line["regret"])] if regret else []),
                *(number(line[f"{n}@{rates[0]:g}"]) for n in extra),
            ]
        )
    level = f"{plan.benchmark.evaluation.confidence * 100:g} %"
    shown = [f"at {percent(r)}" for r in dict.fromkeys((rates[0], rates[-1]))]
    columns = ["tie", "strategy / imputer", f"area [{level}]", *shown, *(["regret"] if regret else [])]
    columns += [metric_name(n) for n in extra]
    caption = (
        f"Area: mean {metric_name(metric)} over all patterns and missing rates, with its interval. Tie: lines of "
        "one number were not shown to "
        f"differ from the best of them (paired bootstrap over patients, Holm's correction)."
    )
    if regret:
        caption += " Regret: distance to the best possible prediction, which only a synthetic cohort can know."
    if extra:
        caption += f" {listed([metric_name(n) for n in extra])}: at {percent(rates[0])} missing."
    return Table(caption, columns, rows, heads=2, name="leaderboard")


def _ranking_picture(summary: RunSummary) -> Picture:
    ranked = _ranked(summary)
    caption = "Mean height of the curves with intervals. Marker and colour tell the tie group."
    groups = [int(g) for g in ranked["tie_group"]]
    names = [arm_name(*line) for line in _lines(ranked)]
    return charts.forest_picture(names, ranked, groups, summary.plan.dataset.metric, caption, _mark(summary))


def _ledger(board: pd.DataFrame) -> Table:
    rows = [
        [
            arm_name(line["strategy"], line["imputer"], line["trained_at"]),
            f"{line['models']} of {line['models_planned']}",
            whole(line["trials"]),
            whole(line["tuning_epochs"]),
            seconds(line["tuning_seconds"]),
            whole(line["epochs"]),
            seconds(line["seconds"]),
            whole(line["parameters"]),
            whole(line["memory_mb"]) if line["memory_mb"] else NOTHING,
        ]
        for _, line in board.iterrows()
    ]
    columns = [
        "strategy / imputer",
        "models",
        "trials",
        "tuning epochs",
        "tuning s",
        "epochs",
        "seconds",
        "parameters",
        "peak MB",
    ]
    caption = (
        "Trials: for each study (one for each fold). Epochs and seconds: sums over trials, and over final "
        "models; seconds of models that were "
        "trained together are shared out. Parameters: of the largest model."
    )
    return Table(caption, columns, rows, name="ledger")


# --------------------------------------------------------------------------------------------
# curves


def curves(summary: RunSummary) -> Section:
    """Degradation curves, pattern by pattern, at most eight lines in colour at a time."""
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    lines = [line for line in _lines(_ranked(summary)) if line in set(_lines(found))]
    size = charts.TOGETHER
    groups = [lines[i : i + size] for i in range(0, len(lines), size)]
    patterns = list(dict.fromkeys(found["pattern"]))
    words = (
        f"{metric_name(metric)} as more is missing. Bars are "
        f"{summary.plan.benchmark.evaluation.confidence * 100:g} % intervals; they belong to "
        "each line alone, while differences between lines are paired and far more certain than overlapping bars "
        "suggest. Lines in grey are in colour in another picture; they may leave this one."
    )
    blocks: list[Block] = [Text(words)]
    if len(groups) > MOST_GROUPS:
        blocks.append(Text(f"Drawn are the first {MOST_GROUPS * size} of {len(lines)} lines; the tables hold all."))
    for g, group in enumerate(groups[:MOST_GROUPS]):
        blocks += _curve_group(summary, g, group, patterns, several=len(groups) > 1)
    tables = [_curve_table(summary, pattern) for pattern in patterns]
    return Section("Degradation curves", blocks, [Section("Numbers of the curves", [*tables, _achieved(summary)])])


def _curve_group(
    summary: RunSummary, g: int, group: Sequence[Line], patterns: Sequence[str], *, several: bool
) -> list[Block]:
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    entries = [(charts.swatch(i, f"swatch-{g}-{i}"), arm_name(*line)) for i, line in enumerate(group)]
    if "ceiling" in found:
        entries.append((charts.swatch(None, f"swatch-{g}-ceiling"), "ceiling: the best possible prediction"))
    first = g * charts.TOGETHER + 1
    about = f", ranks {first} to {first + len(group) - 1} in colour" if several else ""
    pictures = [
        charts.curve_picture(
            found, pattern, group, metric, f"curves-{i + 1}-{g + 1}", f"Missing: {pattern}{about}.", _mark(summary)
        )
        for i, pattern in enumerate(patterns)
    ]
    return [Legend(entries), *pictures]


def _curve_table(summary: RunSummary, pattern: str) -> Table:
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    mine = found[found["pattern"] == pattern]
    rates = sorted(set(mine["rate"]))
    order = _place(summary)
    ranked = sorted(_lines(mine), key=lambda line: order.get(line, len(order)))
    rows = []
    for line in ranked:
        points = mine[_is(mine, line)].set_index("rate")
        cells = [interval(points.loc[r], metric) if r in points.index else NOTHING for r in rates]
        rows.append(["ceiling" if line[0] == CEILING else arm_name(*line), *cells])
    caption = f"{metric_name(metric)} [interval] when {pattern} goes missing, by missing rate."
    return Table(caption, ["strategy / imputer", *map(percent, rates)], rows, folded=True)


def _is(frame: pd.DataFrame, line: Line) -> pd.Series:
    return (frame["strategy"] == line[0]) & (frame["imputer"] == line[1]) & (frame["variant"] == line[2])


def _achieved(summary: RunSummary) -> Table:
    cells = summary.tables.cells
    names = list(summary.plan.dataset.modalities)
    shares = cells.groupby(["pattern", "rate"], sort=False)[[f"hidden.{n}" for n in names]].mean().reset_index()
    rows = [
        [r["pattern"], percent(r["rate"]), *(percent(r[f"hidden.{n}"]) for n in names)] for _, r in shares.iterrows()
    ]
    caption = (
        "What was really hidden, of what the record has, on test rows. The last modality of a row is never hidden, "
        "so that achieved rates may stay below nominal ones."
    )
    return Table(caption, ["pattern", "nominal", *names], rows, heads=2, folded=True)


def grid(summary: RunSummary) -> Section | None:
    """Every training condition against every test condition, one table for each strategy and imputer."""
    if summary.plan.benchmark.missingness.where != "grid":
        return None
    metric, cells = summary.plan.dataset.metric, summary.tables.cells
    cells = cells.assign(tested_at=[f"{p}@{r:g}" for p, r in zip(cells["pattern"], cells["rate"], strict=True)])
    words = (
        f"{metric_name(metric)}, means over folds and seeds. A row is what training and validation rows lacked, a column "
        "what test rows lack; on the diagonal they are alike."
    )
    tables = []
    for strategy, imputer in dict.fromkeys(line[:2] for line in _lines(_ranked(summary))):
        mine = cells[(cells["strategy"] == strategy) & (cells["imputer"] == imputer)]
        tested = list(dict.fromkeys(mine["tested_at"]))
        means = mine.groupby(["trained_at", "tested_at"])[metric].mean().unstack().reindex(columns=tested)
        means = means.reindex([t for t in tested if t in means.index])
        rows = [[str(trained), *map(number, line)] for trained, line in zip(means.index, means.to_numpy(), strict=True)]
        tables.append(Table(f"{arm_name(strategy, imputer)}.", ["trained at", *tested], rows, folded=True))
    return Section("Trained against tested", [Text(words), *tables])


# --------------------------------------------------------------------------------------------
# subsets of the modalities


def subsets(summary: RunSummary) -> Section | None:
    """Each line with only some of the modalities shown, and lines trained on some; published values beside."""
    table = _subset_table(summary)
    beside = _published(summary)
    if table is None and beside is None:
        return None
    words = (
        "The trained models are shown these modalities only, on the same test rows each time; a row that has "
        "none of them is predicted by "
        "the training prevalence. This is what a model trained on everything can do with less; a model trained "
        "on less may do better."
    )
    blocks: list[Block] = [] if table is None else [Text(words), table]
    if beside is not None:
        blocks.append(beside)
    elif summary.plan.benchmark.task.name == published.TASK and summary.plan.dataset.synthetic:
        blocks.append(
            Text(
                f"Published values ({published.SOURCE}) are about patients. This cohort is synthetic, so they do "
                "not apply and are not shown."
            )
        )
    return Section("Modality subsets", blocks)


def _subset_table(summary: RunSummary) -> Table | None:
    found, metric = summary.tables.subsets, summary.plan.dataset.metric
    if len(found) == 0:
        return None
    everything = _complete(summary)
    order = _place(summary)
    names = list(summary.plan.dataset.modalities)
    shown = sorted(dict.fromkeys(found["subset"]), key=lambda s: (s.count("+"), [names.index(n) for n in s.split("+")]))
    rows = []
    for line in sorted(_lines(found), key=lambda one: order.get(one, len(order))):
        mine = found[_is(found, line)].set_index("subset")
        cells = [interval(mine.loc[s], metric) if s in mine.index else NOTHING for s in shown]
        name = "ceiling" if line[0] == CEILING else arm_name(*line)
        rows.append([name, *cells, everything.get(line, NOTHING)])
    caption = f"{metric_name(metric)} [interval] when only these modalities are shown, nothing else hidden."
    return Table(caption, ["strategy / imputer", *shown, "+".join(names)], rows, name="subsets")


def _complete(summary: RunSummary) -> dict[Line, str]:
    """By line, the metric on complete data."""
    found, metric = summary.tables.curves, summary.plan.dataset.metric
    at_zero = found[found["rate"] == 0].drop_duplicates(["strategy", "imputer", "variant"])
    return {line: interval(at_zero[_is(at_zero, line)].iloc[0], metric) for line in _lines(at_zero)}


def _published(summary: RunSummary) -> Table | None:
    plan = summary.plan
    if not published.applies(plan):
        return None
    ours = _complete(summary)
    rows = []
    for arm in plan.arms:
        value = published.published(arm.strategy.registration.name, "+".join(_read(arm, list(plan.dataset.modalities))))
        line = next((one for one in ours if one[:2] == (arm.title, arm.imputer_name)), None)
        if value is not None and line is not None and not arm.regularisers and arm.corruption is None:
            read = "+".join(_read(arm, list(plan.dataset.modalities)))
            rows.append([arm_name(*line), read, ours[line], number(value)])
    if not rows:
        return None
    caption = (
        f"AUROC on complete test records, ours [interval] beside the published value ({published.SOURCE}). "
        "Cohort, folds and tuning differ; the paper "
        "gives no intervals, and does not say whether imputation and TLA were active for the methods it compares "
        "with."
    )
    return Table(caption, ["strategy / imputer", "modalities", "ours", "published"], rows, heads=2, name="published")


def _read(arm: Arm, names: list[str]) -> list[str]:
    """The modalities that an arm reads."""
    alone = arm.strategy.options.get("modality")
    return [alone] if alone is not None else arm.seen(names)


# --------------------------------------------------------------------------------------------
# ablation


def ablation(summary: RunSummary) -> Section | None:
    """Arms that share a strategy and differ in imputer, regularisers, hiding or options."""
    families: dict[str, list[Arm]] = {}
    for arm in summary.plan.arms:
        if (arm.title, arm.imputer_name, "") in _place(summary) and arm.modalities is None:
            families.setdefault(arm.strategy.registration.name, []).append(arm)
    found = [
        t for name, arms in families.items() if name != "unimodal" and (t := _family(summary, name, arms)) is not None
    ]
    if not found:
        return None
    words = (
        "Lines that share a strategy, and differ in what it carries. The first is the plainest; the others are "
        "compared with it, repetition by "
        "repetition (folds x seeds). Regularisers and some imputers hide modalities in training: compare them "
        "with a line that hides and does nothing else."
    )
    return Section("Ablation", [Text(words), *found])


def _family(summary: RunSummary, name: str, arms: Sequence[Arm]) -> Table | None:
    if len(arms) < 2:
        return None
    carried = [_carried(arm) for arm in arms]
    order = sorted(range(len(arms)), key=lambda i: sum(c != NOTHING for c in carried[i]))
    board = summary.tables.leaderboard
    areas = _areas_by_repetition(summary)
    base = areas[arms[order[0]].title, arms[order[0]].imputer_name, ""]
    rows = []
    for i in order:
        line = board[(board["strategy"] == arms[i].title) & (board["imputer"] == arms[i].imputer_name)].iloc[0]
        mine = areas[arms[i].title, arms[i].imputer_name, ""]
        difference = (mine - base).dropna()
        better = difference > 0 if METRICS[summary.plan.dataset.metric].higher_is_better else difference < 0
        last = (
            ["(base)", NOTHING]
            if i == order[0]
            else [signed(difference.mean()), f"{int(better.sum())} of {len(difference)}"]
        )
        rows.append([arms[i].title, arms[i].imputer_name, *carried[i][1:], interval(line, "area"), *last])
    columns = [
        "line",
        "imputer",
        "regularisers",
        "hiding in training",
        "options",
        "area [interval]",
        "difference",
        "better in",
    ]
    return Table(
        f"What {name} carries, and what it changes.", columns, rows, heads=2, name=f"ablation-{name}", words=True
    )


def _carried(arm: Arm) -> list[str]:
    """Imputer, regularisers, hiding, options; a dash for each that is the plainest."""
    options = ", ".join(f"{k}: {v}" for k, v in arm.strategy.options.items())
    hiding = f"{arm.corruption.policy} {arm.corruption.rate:g}".removesuffix(" 0") if arm.corruption is not None else ""
    carried = [
        arm.imputer_name if arm.imputer_name != "zero" else "",
        "+".join(r.registration.name for r in arm.regularisers),
    ]
    return [c or NOTHING for c in (*carried, hiding, options)]


def _areas_by_repetition(summary: RunSummary) -> pd.DataFrame:
    """Mean height of the curves in each repetition (rows fold and seed), by strategy, imputer and variant."""
    settings, cells = summary.plan.benchmark.missingness, summary.tables.cells
    # where training rows lack modalities, a point of a curve is what a model was trained at
    trained = cells["trained_at"].str.rpartition("@")
    own = settings.where in ("test", "grid")
    placed = cells.assign(
        variant="",
        point_pattern=cells["pattern"] if own else trained[0],
        point_rate=cells["rate"] if own else trained[2].astype(float),
    )
    return repetition_areas(placed, summary.plan.dataset.metric, settings.patterns, settings.rates)


# --------------------------------------------------------------------------------------------
# modalities


def modalities(summary: RunSummary) -> Section | None:
    """Shapley values and laziness drops."""
    found = summary.tables.modalities
    if len(found) == 0:
        return None
    order = _place(summary)
    found = found.assign(
        place=[order.get(line, -1) for line in zip(found["strategy"], found["imputer"], found["variant"], strict=True)]
    )
    found = found[found["place"] >= 0].sort_values("place", kind="stable")
    if len(found) == 0:
        return None
    names = [arm_name(*line) for line in _lines(found)]
    found = found.assign(place=found["place"].rank(method="dense").astype(int) - 1)
    metric = metric_name(summary.plan.dataset.metric)
    words = (
        f"Shapley value: the share of {metric} above chance that a modality brings, over all orders in which "
        "modalities can be added; "
        "the values of a line add up to what it has over predicting the prevalence. Laziness: a model trained on "
        "a modality alone, minus the joint "
        "model when it is shown only this modality; above 0, joint training left the modality worse than it can be."
    )
    blocks: list[Block] = [
        Text(words),
        charts.modality_picture(
            found,
            "shapley",
            f"Shapley value, {metric}",
            names,
            "shapley",
            "Shapley value of each modality.",
            _mark(summary),
        ),
    ]
    lazy = found[found["laziness"].notna()]
    if len(lazy):
        kept = list(dict.fromkeys(lazy["place"]))
        lazy = lazy.assign(place=[kept.index(p) for p in lazy["place"]])
        names = [names[p] for p in kept]
        caption = "Laziness of each modality; right of 0: joint training left it worse than it can be."
        blocks.append(
            charts.modality_picture(lazy, "laziness", f"laziness, {metric}", names, "laziness", caption, _mark(summary))
        )
    rows = [
        [arm_name(r["strategy"], r["imputer"], r["variant"]), r["modality"], interval(r, "shapley"), number(r["only"]),
         number(r["alone"]), interval(r, "laziness")]
        for _, r in found.iterrows()
    ]  # fmt: skip
    columns = ["strategy / imputer", "modality", "Shapley value", "shown only this", "trained on it alone", "laziness"]
    blocks.append(
        Table("Shapley values and laziness, with intervals.", columns, rows, heads=2, name="modalities", folded=True)
    )
    return Section("What each modality is worth", blocks)


# --------------------------------------------------------------------------------------------
# calibration


def calibration(summary: RunSummary) -> Section | None:
    """Reliability diagrams of the best lines, and calibration error and Brier score of all."""
    found, cells = summary.tables.calibration, summary.tables.cells
    order = _place(summary)
    lines = [line for line in order if line in set(_lines(found))]
    if not lines:
        return None
    words = (
        "Predictions of test rows on complete data, all folds and seeds together, in ten bins; a bin with fewer "
        "than ten different rows is merged "
        "with its neighbour. On the diagonal, what is predicted happens; below it, the model promises too much. "
        "A larger dot stands for more predictions."
    )
    blocks: list[Block] = [Text(words)]
    complete = cells[cells["pattern"] == COMPLETE.pattern]
    names = [n for n in ("ece", "brier", "log_loss") if n in complete]
    trained = condition_label(COMPLETE)
    # a cell says what its model was trained at; a line only where lines differ in that
    means = {
        tuple(map(str, key)): mine[names].mean()
        for key, mine in complete.groupby(["strategy", "imputer", "trained_at"])
    }
    errors = {line: means[line[0], line[1], line[2] or trained] for line in lines}
    drawn = lines[: charts.TOGETHER]
    blocks += [
        charts.calibration_picture(
            found[_is(found, line)],
            arm_name(*line),
            i,
            f"calibration-{i + 1}",
            f"{arm_name(*line)}: calibration error {number(errors[line].get('ece'))}",
            _mark(summary),
        )
        for i, line in enumerate(drawn)
    ]
    rows = [[arm_name(*line), *map(number, errors[line])] for line in lines]
    caption = "Means over folds and seeds on complete data; lower is better."
    if len(lines) > len(drawn):
        caption += f" Drawn above: the first {len(drawn)} lines."
    blocks.append(Table(caption, ["strategy / imputer", *map(metric_name, names)], rows, name="calibration"))
    return Section("Calibration", blocks)


# --------------------------------------------------------------------------------------------
# tests over repetitions


def repetitions(summary: RunSummary) -> Section | None:
    """Critical-difference picture, and the tests of the field against the leader."""
    found = summary.tables.comparisons
    if len(found) < 2:
        return None
    ranked = found.sort_values("mean_rank", kind="stable")
    critical = float(found["critical_difference"].iloc[0])
    count = len(summary.plan.folds) * len(summary.plan.benchmark.splits.seeds)
    names = [arm_name(*line) for line in _lines(ranked)]
    words = (
        "The tie groups above take the trained models as given. Here every line is looked at over "
        f"{counted(count, 'repetition')} (folds x seeds), which "
        "share training rows. Friedman's test that all lines rank alike: p "
        f"{p_value(float(found['friedman_p'].iloc[0]))}."
    )
    caption = (
        f"Mean ranks. A bar is as long as the critical difference ({critical:.1f}, Nemenyi): lines whose dots lie "
        "within a bar were not shown to differ. "
        "Dashed: how far the best one's bar reaches."
    )
    rows = [
        [
            arm_name(*line),
            number(r["mean_rank"], 1),
            number(r["difference"]),
            number(r["spread"]),
            *(p_value(r[f"holm_{t}"]) if r[f"holm_{t}"] == r[f"holm_{t}"] else NOTHING for t in _TESTS),
        ]
        for line, (_, r) in zip(_lines(ranked), ranked.iterrows(), strict=True)
    ]
    columns = ["strategy / imputer", "mean rank", "leader minus line", "spread", *_TESTS.values()]
    table = (
        "Leader against each line: mean difference of areas, its standard deviation over repetitions, p values "
        "after Holm's correction."
    )
    blocks: list[Block] = [
        Text(words),
        charts.rank_picture(names, list(ranked["mean_rank"]), critical, caption, _mark(summary)),
    ]
    return Section("Over repetitions", [*blocks, Table(table, columns, rows, name="comparisons")])


_TESTS = {"corrected_t": "p, corrected t", "paired_t": "p, paired t", "wilcoxon": "p, Wilcoxon"}


# --------------------------------------------------------------------------------------------
# traces


def traces(summary: RunSummary) -> Section | None:
    """What strategies recorded over the epochs."""
    found = summary.traces
    if len(found) == 0:
        return None
    panels = list(dict.fromkeys(zip(found["strategy"], found["imputer"], found["what"], strict=True)))
    which = list(summary.plan.dataset.modalities)
    pictures = []
    for i, (strategy, imputer, what) in enumerate(panels):
        mine = found[(found["strategy"] == strategy) & (found["imputer"] == imputer) & (found["what"] == what)]
        order = [w for w in which if w in set(mine["which"])] + sorted(set(mine["which"]) - set(which))
        pictures.append(
            charts.trace_picture(
                mine,
                f"{arm_name(strategy, imputer)}: {what}",
                order[: charts.TOGETHER],
                f"trace-{i + 1}",
                _mark(summary),
            )
        )
    return Section(
        "Over the epochs", [Text("What strategies recorded while they were trained; means over models."), *pictures]
    )
