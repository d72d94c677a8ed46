"""How much faster is the vectorised bootstrap than a loop of scikit-learn calls, and is it the same?

The loop is measured on a part (``--loop-calls``, spread over models and resamples) and extrapolated by the
number of calls. The vectorised time is measured in full and includes drawing the resamples; the loop's holds
the selection of the drawn rows and the scoring call alone. Run with ``OMP_NUM_THREADS=1`` for one core each.

    python benchmarks/performance/metrics_speed.py
    python benchmarks/performance/metrics_speed.py --models 8 --resamples 200
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fusionbench.metrics.intervals import Bootstrap
from fusionbench.metrics.resampling import bootstrap, bootstrap_counts
from fusionbench.seeding import numpy_generator

LOOPS: dict[str, Callable[..., float]] = {"auroc": roc_auc_score, "auprc": average_precision_score}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--prevalence", type=float, default=0.13)
    parser.add_argument("--loop-calls", type=int, default=640, help="scikit-learn calls that are really made")
    options = parser.parse_args()
    generator = numpy_generator("metrics speed", rows=options.rows)
    target = (generator.random(options.rows) < options.prevalence).astype(np.int64)
    scores = generator.standard_normal((options.models, options.rows)) + target
    print(
        f"{options.models} models x {options.rows} rows x {options.resamples} resamples, {target.mean():.3f} positive"
    )
    for metric in LOOPS:
        compare(metric, scores, target, options.resamples, options.loop_calls)


def compare(metric: str, scores: NDArray[np.float64], target: NDArray[np.int64], resamples: int, calls: int) -> None:
    groups = np.arange(len(target))
    bootstrap(scores[:1], target, groups, metric, 1, numpy_generator("warm up"))
    begin = time.perf_counter()
    ours = bootstrap(scores, target, groups, metric, resamples, numpy_generator("resamples"))
    fast = time.perf_counter() - begin
    measured, largest = loop(metric, scores, target, ours, calls)
    whole = measured / calls * scores.shape[0] * resamples
    print(
        f"{metric}: vectorised {fast:.3f} s; scikit-learn loop {measured / calls * 1e3:.2f} ms a call, "
        f"{whole:.0f} s extrapolated from {calls} calls; ratio {whole / fast:.0f}; largest difference {largest:.1e}"
    )


def loop(
    metric: str, scores: NDArray[np.float64], target: NDArray[np.int64], ours: Bootstrap, calls: int
) -> tuple[float, float]:
    """Return the seconds of ``calls`` scikit-learn calls and the largest difference to our values."""
    resamples = ours.values.shape[1]
    # one fold draws from the first stream that its generator spawns
    counts = bootstrap_counts(np.arange(len(target)), resamples, numpy_generator("resamples").spawn(1)[0])
    pairs = [(call % len(scores), call % resamples) for call in range(calls)]
    drawn = {r: np.repeat(np.arange(len(target)), counts[r]) for _, r in pairs}
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # resamples of one class
        values = [LOOPS[metric](target[drawn[r]], scores[m][drawn[r]]) for m, r in pairs]
    seconds = time.perf_counter() - begin
    expected = np.array([ours.values[m, r] for m, r in pairs])
    return seconds, float(np.nanmax(np.abs(np.array(values) - expected)))


if __name__ == "__main__":
    main()
