"""kNN against its definition, on vectors, series and images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusionbench import Batch, TargetKind
from fusionbench.data.completion import complete_table, fit_imputer
from fusionbench.data.table import RowTable
from fusionbench.errors import DataError
from fusionbench_plugins.imputers.knn import Knn
from tests.plugins.imputers.test_imputers import SPEC


def knn_rows(seed: int, rows: int = 30) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"ehr": (4, 2), "cxr": (3,), "ecg": (5,)}
    features = {n: torch.randn(rows, *s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    present = torch.rand(rows, 3, generator=generator) < 0.6
    present[torch.arange(rows), torch.arange(rows) % 3] = True
    return Batch(features, dict(zip(shapes, present.unbind(1), strict=True)))


def obvious_knn(train: Batch, query: Batch, k: int, weights: str) -> dict[str, torch.Tensor]:
    """The definition, with loops."""
    scaled_train, scaled_query = {}, {}
    for n in train.names:
        flat, rows = train.features[n].flatten(1), train.present[n]
        mean, spread = flat[rows].mean(0), flat[rows].std(0, correction=0)
        scaled_train[n] = (flat - mean) / spread
        scaled_query[n] = (query.features[n].flatten(1) - mean) / spread
    total = sum(v.shape[1] for v in scaled_train.values())
    filled = {n: f.clone() for n, f in query.features.items()}
    for n in train.names:
        for q in (~query.present[n]).nonzero().flatten().tolist():
            found = []
            for t in train.present[n].nonzero().flatten().tolist():
                shared = [m for m in train.names if train.present[m][t] and query.present[m][q]]
                if shared:
                    squares = sum((scaled_train[m][t] - scaled_query[m][q]).square().sum() for m in shared)
                    found.append((float((squares * total / sum(scaled_train[m].shape[1] for m in shared)).sqrt()), t))
            nearest = sorted(found)[:k]
            w = torch.tensor([1.0 if weights == "uniform" else 1 / d for d, _ in nearest], dtype=torch.float64)
            donors = torch.stack([train.features[n][t] for _, t in nearest])
            filled[n][q] = torch.einsum("k,k...->...", w / w.sum(), donors)
    return filled


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_knn_equals_its_definition(weights):
    train, query = knn_rows(1), knn_rows(2, rows=15)
    imputer = Knn(SPEC, k=4, weights=weights)
    imputer.fit(train)
    for batch in (query, train):
        completed, expected = imputer(batch), obvious_knn(train, batch, 4, weights)
        for name in batch.names:
            torch.testing.assert_close(completed.features[name], expected[name], rtol=1e-6, atol=1e-7)
            assert completed.usable(name).all()


def test_knn_uses_all_donors_where_there_are_fewer_than_k():
    train = knn_rows(1)
    imputer = Knn(SPEC, k=1000)
    imputer.fit(train)
    query = Batch(knn_rows(2).features, {n: torch.full((30,), n == "ehr") for n in train.names})
    both = train.present["cxr"] & train.present["ehr"]
    expected = train.features["cxr"][both].mean(dim=0).expand(30, -1)
    torch.testing.assert_close(imputer(query).features["cxr"], expected)


def test_knn_falls_back_to_the_mean_without_a_shared_modality_and_to_zero_without_any_donor():
    train = knn_rows(1)
    train = replace(train, present={**train.present, "ecg": torch.zeros(30, dtype=torch.bool)})
    imputer = Knn(SPEC)
    imputer.fit(train)
    nothing = Batch(train.features, {n: torch.full((30,), n == "ecg") for n in train.names})
    completed = imputer(nothing)
    mean = train.features["cxr"][train.present["cxr"]].mean(dim=0)
    torch.testing.assert_close(completed.features["cxr"], mean.expand(30, -1))
    lacking = Batch(train.features, {n: torch.full((30,), n == "cxr") for n in train.names})
    assert not imputer(lacking).features["ecg"].any()


def test_knn_of_images_keeps_their_type_and_texts_are_refused():
    pixels = torch.tensor([[[0, 10]], [[255, 12]], [[7, 7]]], dtype=torch.uint8)
    present = {"cxr": torch.tensor([True, True, False]), "ehr": torch.tensor([True, True, True])}
    batch = Batch({"cxr": pixels, "ehr": torch.tensor([[0.0], [1.0], [2.0]])}, present)
    imputer = Knn(SPEC, k=2)
    imputer.fit(batch)
    filled = imputer(batch).features["cxr"]
    assert filled.dtype == torch.uint8
    assert filled[2].tolist() == [[128, 11]]
    with pytest.raises(DataError, match="modality 'report' holds int64 codes"):
        imputer.fit(Batch({"report": torch.zeros(3, 4, dtype=torch.int64)}, {"report": present["cxr"]}))


def series_rows(seed: int, rows: int = 24, padding: float = 0.0) -> Batch:
    """A series of differing length beside a vector; ``padding`` fills what lies behind the valid steps."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, 6, 2, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, 7, (rows,), generator=generator)
    values = torch.where((torch.arange(6) < lengths[:, None])[..., None], values, padding)
    features = {"ehr": values, "cxr": torch.randn(rows, 3, generator=generator, dtype=torch.float64)}
    turn = torch.arange(rows) % 3
    return Batch(features, {"ehr": turn != 1, "cxr": turn != 2}, lengths={"ehr": lengths})


def obvious_series_mean(train: Batch, query: Batch, q: int, k: int) -> torch.Tensor:
    """The filled series of a query that has the vector only, by loops: as many steps as it has rows."""
    rows = train.present["cxr"]
    known = train.features["cxr"][rows]
    spread = known.std(0, correction=0)
    donors = [t for t in train.present["ehr"].nonzero().flatten().tolist() if train.present["cxr"][t]]
    away = [float(((train.features["cxr"][t] - query.features["cxr"][q]) / spread).norm()) for t in donors]
    nearest = [t for _, t in sorted(zip(away, donors, strict=True))[:k]]
    length = round(sum(int(train.lengths["ehr"][t]) for t in nearest) / len(nearest))
    steps = []
    for step in range(length):
        reaching = [train.features["ehr"][t, step] for t in nearest if step < train.lengths["ehr"][t]]
        steps.append(torch.stack(reaching).mean(dim=0))
    return torch.stack(steps)


def test_knn_fills_a_series_as_long_as_its_neighbours_and_each_step_from_those_that_reach_it():
    train, query = series_rows(1), series_rows(2)
    imputer = Knn(SPEC, k=3)
    imputer.fit(train)
    completed = imputer(query)
    filled = (~query.present["ehr"]).nonzero().flatten().tolist()
    for q in filled:
        wanted = obvious_series_mean(train, query, q, 3)
        assert completed.lengths["ehr"][q] == len(wanted)
        torch.testing.assert_close(completed.features["ehr"][q, : len(wanted)], wanted)
        assert not completed.features["ehr"][q, len(wanted) :].any()
    assert len({int(completed.lengths["ehr"][q]) for q in filled}) > 1
    own = query.present["ehr"]
    assert torch.equal(completed.lengths["ehr"][own], query.lengths["ehr"][own])
    assert torch.equal(completed.features["ehr"][own], query.features["ehr"][own])


def test_knn_compares_series_over_the_steps_that_are_valid_in_both():
    train, query = series_rows(1), series_rows(2)
    imputer = Knn(SPEC, k=1)
    imputer.fit(train)
    known = train.present["ehr"]
    steps = torch.arange(6) < train.lengths["ehr"][:, None]
    scaled = torch.zeros(6, 2, dtype=torch.float64), torch.ones(6, 2, dtype=torch.float64)
    for step in range(6):
        values = train.features["ehr"][known & steps[:, step], step]
        scaled[0][step], scaled[1][step] = values.mean(0), values.std(0, correction=0)
    for q in (~query.present["cxr"]).nonzero().flatten().tolist():
        away = []
        for t in (known & train.present["cxr"]).nonzero().flatten().tolist():
            shared = min(int(train.lengths["ehr"][t]), int(query.lengths["ehr"][q]))
            a, b = (
                (x[:shared] - scaled[0][:shared]) / scaled[1][:shared]
                for x in (train.features["ehr"][t], query.features["ehr"][q])
            )
            away.append((float((a - b).square().mean()), t))
        torch.testing.assert_close(imputer(query).features["cxr"][q], train.features["cxr"][min(away)[1]])


@pytest.mark.parametrize("padding", [1e6, float("nan")])
def test_knn_never_reads_padding(padding):
    found = []
    for content in (0.0, padding):
        imputer = Knn(SPEC, k=3, weights="distance")
        imputer.fit(series_rows(1, padding=content))
        completed = imputer(series_rows(2, padding=content))
        valid = torch.arange(6) < completed.lengths["ehr"][:, None]
        found.append((completed.lengths["ehr"], completed.features["ehr"][valid], completed.features["cxr"]))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_knn_without_neighbours_fills_a_series_of_average_length_and_of_one_step_without_any_donor():
    train = series_rows(1)
    nothing = Batch(train.features, {n: torch.zeros(24, dtype=torch.bool) for n in SPEC.names}, lengths=train.lengths)
    imputer = Knn(SPEC)
    imputer.fit(train)
    completed, known = imputer(nothing), train.present["ehr"]
    average = round(float(train.lengths["ehr"][known].double().mean()))
    assert completed.lengths["ehr"].tolist() == [average] * 24
    torch.testing.assert_close(completed.features["ehr"][5, 0], train.features["ehr"][known, 0].mean(dim=0))
    imputer.fit(replace(train, present={**train.present, "ehr": torch.zeros(24, dtype=torch.bool)}))
    completed = imputer(nothing)
    assert completed.lengths["ehr"].tolist() == [1] * 24
    assert not completed.features["ehr"].any()


def test_completing_a_table_replaces_the_lengths_of_filled_rows():
    batch = series_rows(1)
    present = torch.stack(list(batch.present.values()), dim=1)
    empty: dict = {}
    table = RowTable(
        batch.features, batch.lengths, empty, empty, empty, present, torch.zeros(24).long(), TargetKind.BINARY, 1
    )
    imputer = Knn(SPEC, k=3)
    completed, usable = complete_table(table, fit_imputer(table, imputer, torch.arange(24), present), present)
    assert usable.all()
    absent = ~batch.present["ehr"]
    assert torch.equal(completed.lengths["ehr"], imputer(batch).lengths["ehr"])
    assert not torch.equal(completed.lengths["ehr"][absent], table.lengths["ehr"][absent])


def test_knn_options_are_checked():
    with pytest.raises(ValueError, match="k must be at least 1"):
        Knn(SPEC, k=0)
    with pytest.raises(ValueError, match="weights must be 'uniform' or 'distance'"):
        Knn(SPEC, weights="gaussian")


def sum_of(value: float, counted: torch.Tensor) -> float:
    return float(
        torch.where(counted[:, None], torch.full((len(counted), 5), value, dtype=torch.float64), 0).sum(dim=0)[0]
    )


def test_a_constant_of_training_rows_does_not_decide_alone_who_is_near():
    train, query = knn_rows(1), knn_rows(2, rows=15)
    constant = {n: f.clone() for n, f in train.features.items()}
    counted = int(train.present["ecg"].sum())
    # the mean of such a constant is not the constant, so that its computed spread is not 0
    odd = next(v for v in (k / 10 for k in range(1, 100)) if sum_of(v, train.present["ecg"]) / counted != v)
    constant["ecg"][:, 0] = odd
    imputer = Knn(SPEC, k=4)
    imputer.fit(replace(train, features=constant))
    assert imputer.scale_ecg[0] == 1
    moved = {n: f.clone() for n, f in query.features.items()}
    moved["ecg"][:, 0] = odd
    first = imputer(replace(query, features=moved)).features
    moved["ecg"][:, 0] = odd + 1e-3
    second = imputer(replace(query, features=moved)).features
    torch.testing.assert_close(first["cxr"], second["cxr"])
