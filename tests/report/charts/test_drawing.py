"""How pictures are drawn: equal bytes for equal pictures, names of their own, texts as they are."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from fusionbench.errors import WorkspaceError
from fusionbench.report.charts import drawing


def dots(panel):
    panel.plot([0, 1], [1, 0])


def test_equal_pictures_are_equal_and_one_of_another_name_is_not():
    one, same, other = (drawing.draw(n, (2, 2), dots, "alt", "caption") for n in ("a", "a", "b"))
    assert (one.svg, one.pdf) == (same.svg, same.pdf)
    assert one.svg != other.svg
    assert one.pdf.startswith(b"%PDF")


def test_what_a_picture_must_say_stands_in_it():
    assert "SYNTHETIC" in drawing.draw("a", (2, 2), dots, "", "", "SYNTHETIC", pdf=False).svg


def test_several_panels_are_given_together():
    seen = []
    drawing.draw("a", (2, 2), seen.append, "", "", pdf=False, panels=2)
    assert len(seen[0]) == 2


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_figure_is_written_with_equal_bytes(tmp_path, ending):
    paths = [tmp_path / f"{name}.{ending}" for name in ("one", "two")]
    figure = Figure(figsize=(1, 1))
    dots(figure.subplots())
    with drawing_style():
        drawing.save_figure(figure, paths)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def drawing_style():
    import matplotlib as mpl

    return mpl.rc_context({"svg.hashsalt": "x"})


def test_a_folder_that_is_a_file_is_an_error_of_the_workspace(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="cannot be written"):
        drawing.save_figure(Figure(figsize=(1, 1)), [tmp_path / "file" / "a.png"])
