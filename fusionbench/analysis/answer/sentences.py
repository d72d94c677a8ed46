"""Three sentences: what to use on average, what when much is missing, what is not worth its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fusionbench.analysis.answer.situation import Point, Situation, fallen
from fusionbench.analysis.ranking.differences import BETTER, WORSE
from fusionbench.analysis.words import counted, hidden_words, listed, number, percent, signed
from fusionbench.plan.lines import Line, line_of
from fusionbench.records import Answer

QUESTION: Final = "Which fusion strategy should you use when modalities go missing, and is the difference real?"
DEAR: Final = 2.0
"""Times the baseline's seconds, from which a line that is nowhere shown to be better is named."""
BEYOND: Final = 1.0
"""No two scores between 0 and 1 lie this far apart."""
NAMED: Final = 4
"""Lines named in one sentence; the others are counted."""


def answer_of(found: Situation) -> Answer | None:
    """Say what a run found; None where nothing could be scored."""
    if len(found.ranked) == 0:
        return None
    question = found.question or QUESTION
    if len(found.ranked) == 1:
        return Answer(question, _alone(found), "Nothing was compared with it.", "Its cost stands in the ledger.")
    if not found.again or found.baseline is None:
        return Answer(question, _of_these_models(found), *_silent(found))
    return Answer(question, _average(found), _missing(found), _cost(found))


# --------------------------------------------------------------------------------------------
# designs that cannot compare


def _alone(found: Situation) -> str:
    row = found.ranked.iloc[0]
    value = f"{found.metric} {number(row['area'])} [{number(row['area_low'])}, {number(row['area_high'])}]"
    return f"Only {found.called(line_of(row))} was scored: {value} on average over what was hidden."


def _of_these_models(found: Situation) -> str:
    row = found.ranked.iloc[0]
    return (
        f"This run cannot say which strategy to use: each was trained once, and another training may order them otherwise; of "
        f"these trained models {found.called(line_of(row))} is first ({found.metric} {number(row['area'])} on average)."
    )


def _silent(found: Situation) -> tuple[str, str]:
    if found.again:
        reason = "the baseline could not be scored, so that differences to it cannot be taken"
        return f"What to use when much is missing is not said: {reason}.", "Nor is it said what is worth its cost."
    return (
        "What to use when much is missing cannot be said either: no difference to the baseline can be shown with one training.",
        "What is worth its cost cannot be said; run more folds or seeds.",
    )


# --------------------------------------------------------------------------------------------
# on average


def _average(found: Situation) -> str:
    said = _doubtful(found, _best_on_average(found))
    detectable = float(found.design.iloc[0]["smallest_detectable"])
    if len(found.first_group) > 1 and detectable == detectable:  # noqa: PLR0124 - NaN
        said += (
            f" A run of this size shows differences from about {number(detectable)} on."
            if detectable < BEYOND
            else " A run of this size shows no difference that scores can have."
        )
    return said


def _doubtful(found: Situation, said: str) -> str:
    return f"Provisional, because {listed(list(found.doubts))}: {said[0].lower()}{said[1:]}" if found.doubts else said


def _best_on_average(found: Situation) -> str:
    base, first = found.baseline, found.first_group
    assert base is not None
    name = found.called(base)
    if len(first) == 1:
        only = "it is the only strategy that could be the best"
        if first[0] == base:
            return f"On average, use {name}: {only}."
        return f"On average, use {found.called(first[0])}: {only}, {_against(found, first[0])}."
    ahead = [line for line, p in found.areas.items() if p.shown == BETTER]
    among = f"{counted(len(first), 'strategy', 'strategies')} could be the best"
    if base not in first:
        leader = first[0]
        return f"On average, {name} is not the best: {among} ({_named(found, first)}); {_against(found, leader, name=True)}."
    if ahead:
        leader = max(ahead, key=lambda line: abs(found.areas[line].difference))
        return f"On average, {_against(found, leader, name=True)}; {among}, {name} among them."
    if len(first) == len(found.ranked):
        tie = "no strategy was shown to differ from the best"
        return f"On average, {name} will do: {tie}, and nothing tested was shown to beat {name}."
    return f"On average, {name} will do: nothing tested was shown to beat it ({among}, {name} among them)."


def _against(found: Situation, line: Line, *, name: bool = False) -> str:
    """``+.021 AUROC [.008, .034] against Concat``; what was not shown is said to be so."""
    assert found.baseline is not None
    p, base = found.areas[line], found.called(found.baseline)
    size = _size(found, p)
    said = f"{size} against {base}"
    if p.shown != BETTER:
        said += ", a difference that was not shown"
    return f"{found.called(line)} is ahead, {said}" if name else said


def _size(found: Situation, p: Point) -> str:
    return f"{signed(p.difference)} {found.metric} [{number(p.low)}, {number(p.high)}]"


# --------------------------------------------------------------------------------------------
# when much is missing


def _missing(found: Situation) -> str:
    assert found.baseline is not None
    base = found.called(found.baseline)
    if not found.hidden:
        return "This run hid nothing beyond what the record lacks: it says nothing about missing modalities."
    most = max(found.hidden, key=lambda p: (p.rate, p.achieved))
    ahead = _ahead(found)
    if ahead:
        return _overtaking(found, ahead, base)
    behind = fallen(found)
    nothing = f"When much is missing, nothing tested was shown to beat {base}, up to {_where(most)}"
    if behind:
        names = _named(found, [p.line for p in behind])
        deepest = max(behind, key=lambda p: abs(p.difference))
        return (
            f"{nothing}; {names} {'falls' if len(behind) == 1 else 'fall'} behind it there, though not on complete data (as "
            f"far as {_size(found, deepest)} with {_where(deepest)})."
        )
    return f"{nothing}."


def _ahead(found: Situation) -> list[Point]:
    """For each line that is better than the baseline when something is hidden, its clearest point of most missing."""
    best: dict[Line, Point] = {}
    for p in found.hidden:
        known = best.get(p.line)
        if p.shown == BETTER and (known is None or (p.rate, abs(p.difference)) > (known.rate, abs(known.difference))):
            best[p.line] = p
    return sorted(best.values(), key=lambda p: (-p.rate, -abs(p.difference)))


def _overtaking(found: Situation, ahead: Sequence[Point], base: str) -> str:
    """The line that is furthest ahead where most is missing, from which rate on, and how it stood on complete data."""
    first = ahead[0]
    name = found.called(first.line)
    best = found.best_at(first)
    alone = best == [first.line]
    begin = f"use {name}, the only strategy that could be the best there" if alone else f"{name} beats {base}"
    against = f" against {base}" if alone else ""
    said = f"When much is missing, {begin}: {_size(found, first)}{against} with {_where(first)}"
    start = _from_which_on(found, first)
    if start is not None and start.rate < first.rate:
        said += f", and better from {percent(start.rate)} on"
    complete = found.complete.get(first.line)
    if complete is not None:
        said += f"; {_on_complete_data(complete, base)}"
    others = [p.line for p in ahead[1:] if p.rate == first.rate]
    if others:
        said += f" ({_named(found, others)} {'is' if len(others) == 1 else 'are'} shown to be better there too)"
    if len(best) > 1:
        said += f"; {counted(len(best), 'strategy', 'strategies')} could be the best there"
    return f"{said}."


def _on_complete_data(complete: Point, base: str) -> str:
    if complete.shown == BETTER:
        return f"it is ahead on complete data as well, {signed(complete.difference)}"
    if complete.shown == WORSE:
        return f"the order turns round: on complete data {base} is better, by {number(abs(complete.difference))}"
    return "on complete data the two were not shown to differ"


def _from_which_on(found: Situation, last: Point) -> Point | None:
    """The first point from which on every one up to ``last`` is shown to be better."""
    start = None
    for p in reversed([p for p in found.curve(last.line, last.pattern) if p.rate <= last.rate]):
        if p.shown != BETTER:
            break
        start = p
    return start


def _where(p: Point) -> str:
    """``80 % of ehr hidden``, and what that is of everything where it differs."""
    differs = abs(p.achieved - p.rate) >= 0.01  # False of NaN
    really = f" ({percent(round(p.achieved, 2))} of all that was there)" if differs else ""
    return hidden_words(p.pattern, p.rate) + really


# --------------------------------------------------------------------------------------------
# cost


def _cost(found: Situation) -> str:
    assert found.baseline is not None
    base, unit = found.called(found.baseline), found.cost(found.baseline)
    said = []
    if unit > 0:
        rivals = [line_of(row) for _, row in found.ranked.iterrows()]
        times = {
            line: found.cost(line) / unit
            for line in rivals
            if line != found.baseline and line in found.whole and line not in found.controls
        }
        dear = [line for line, t in times.items() if t >= DEAR and not found.ever_better(line)]
        dear.sort(key=lambda line: -times[line])
        if dear:
            against = [f" the seconds of {base}", *[""] * (NAMED - 1)]
            shown = [
                f"{found.called(line)} ({times[line]:.1f} times{of})" for line, of in zip(dear, against, strict=False)
            ]
            more = [counted(len(dear) - NAMED, "other")] if len(dear) > NAMED else []
            verb = "was" if len(dear) == 1 else "were"
            said.append(f"Not worth the cost here: {listed([*shown, *more])}, which {verb} nowhere shown to be better.")
        elif times:
            said.append(
                f"No strategy took {DEAR:g} times the seconds of {base} or more without being shown to be better somewhere."
            )
    unbeaten = _unbeaten_control(found)
    if unbeaten is not None:
        said.append(f"Nothing was shown to beat {unbeaten}, a plain control that is fitted, not trained.")
    return " ".join(said) or "There is no other strategy whose cost could be weighed."


def _unbeaten_control(found: Situation) -> str | None:
    """The best control, where no line of the leaderboard was shown to beat it."""
    if "beats_control" not in found.ranked or not found.controls:
        return None
    judged = found.ranked[found.ranked["beats_control"].isin(["yes", "no"])]
    if len(judged) == 0 or (judged["beats_control"] == "yes").any():
        return None
    best = next((line_of(row) for _, row in found.ranked.iterrows() if line_of(row) in found.controls), None)
    return None if best is None or best == found.baseline else found.called(best)


def _named(found: Situation, lines: Sequence[Line]) -> str:
    names = [found.called(line) for line in lines[:NAMED]]
    more = [counted(len(lines) - NAMED, "other")] if len(lines) > NAMED else []
    return listed([*names, *more])
