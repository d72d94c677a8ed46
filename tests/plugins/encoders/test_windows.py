"""Windows over long texts: every piece is read, and counts once."""

from __future__ import annotations

import pytest
import torch

from fusionbench_plugins.encoders._windows import mean_over, windows_of, wrong_lengths

AROUND = ([101], [102])


def states_of(tokens, valid):
    """A state that is the piece itself, one-hot over 200 numbers."""
    return torch.nn.functional.one_hot(tokens, 200).float()


def text(length, width):
    row = torch.zeros(width, dtype=torch.int64)
    row[:length] = torch.tensor([101, *range(1, length - 1), 102])
    return row


@pytest.mark.parametrize(("width", "stride"), [(12, 10), (12, 5), (12, 3), (12, 1), (30, 7), (5, 3)])
def test_every_piece_counts_once_whatever_the_length(width, stride):
    windows = windows_of(width, stride, AROUND, 0)
    lengths = torch.arange(2, 60)
    tokens = torch.stack([text(int(n), 64) for n in lengths])
    found = mean_over(windows, tokens, lengths, states_of) * lengths[:, None]
    for row, n in zip(found, lengths.tolist(), strict=True):
        expected = torch.zeros(200)
        expected[[101, *range(1, n - 1), 102]] = 1
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)


def test_windows_begin_and_end_with_the_special_pieces_and_have_no_padding_inside():
    windows = windows_of(8, 4, ([5, 6], [7]), 9)
    tokens, lengths = torch.tensor([[5, 6, 10, 11, 12, 13, 14, 15, 16, 7]]), torch.tensor([10])
    first, second = windows.of(tokens, lengths)
    assert first.tokens.tolist() == [[5, 6, 10, 11, 12, 13, 14, 7]]
    assert second.tokens.tolist() == [[5, 6, 14, 15, 16, 7]]
    assert first.valid.all()
    assert second.valid.all()


def test_a_text_that_fits_has_one_window_and_others_do_not_change_it():
    windows = windows_of(12, 5, AROUND, 0)
    tokens = torch.stack([text(9, 40), text(40, 40)])
    found = list(windows.of(tokens, torch.tensor([9, 40])))
    assert [w.rows.tolist() for w in found[:2]] == [[0, 1], [1]]
    assert found[0].tokens[0, :9].tolist() == text(9, 9).tolist()
    assert found[0].valid[0].tolist() == [True] * 9 + [False] * 3
    assert found[0].weight[0, :9].tolist() == [1.0] * 9


def test_a_stride_that_leaves_pieces_out_is_refused():
    with pytest.raises(ValueError, match=r"has room for 10 of the text.*use a stride of 10 or less"):
        windows_of(12, 11, AROUND, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1, "cls", None, None), ["max_length must be a whole number, at least 2"]),
        ((True, "mean", 2, 0), ["max_length must", "window must be a whole number, at least 3", "stride must be" ]),
        ((64, "mean", None, 4), ["stride is given without window"]),
        ((64, "cls", 32, None), ["window needs pool: mean, found pool: cls"]),
        ((64, "tokens", 32, 40), ["window needs pool: mean", "stride is 40, more than the window of 32"]),
        ((64, "mean", 32.5, None), ["window must be a whole number"]),
        ((64, "mean", 32, 16), []),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit_are_all_said(given, words):
    found = list(wrong_lengths(*given))
    assert len(found) == len(words)
    assert all(said.startswith(word) for said, word in zip(found, words, strict=True))
