"""Where pages lie."""

from __future__ import annotations

from pathlib import Path

from biosae_utils.book.paths import notebook, page_path


def test_a_page_lies_in_the_folder_of_what_it_is_about():
    assert page_path("demo", "00_data") == Path("book/executed/demo/00_data.ipynb")
    assert page_path("demo", "02_sae", "m") == Path("book/executed/demo/m/02_sae.ipynb")
    assert page_path("r", "04_annotate", "m.random-weights", 3, root="elsewhere") == Path(
        "elsewhere/book/executed/r/m.random-weights/layer_03/04_annotate.ipynb"
    )


def test_a_notebook_is_called_like_its_phase():
    assert notebook("98_cell_depth") == Path("notebooks/98_cell_depth.py")
