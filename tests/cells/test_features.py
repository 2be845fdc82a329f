"""Antibodies, peaks and guides are no genes, and are not summed into any."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from biosae_utils.cells.data import open_cells
from biosae_utils.cells.features import kinds_of
from biosae_utils.errors import BiosaeError


def test_antibodies_of_the_same_name_are_left_out_and_counted(small, saved):
    tags = np.full((40, 3), 100.0, np.float32)
    both = ad.AnnData(sp.csr_matrix(np.hstack([small.X.toarray(), tags])), obs=small.obs)
    both.var_names = [*small.var_names, "CD3E", "CD14", "Hashtag1"]
    both.var["feature_types"] = ["Gene Expression"] * 20 + ["Antibody Capture"] * 2 + ["Multiplexing Capture"]
    cells = open_cells(saved(both))
    assert len(cells.genes) == 20
    np.testing.assert_array_equal(cells.read(np.arange(40)).toarray(), small.X.toarray())
    (said,) = [m for m in cells.messages if "no genes" in m]
    assert said.startswith("WARNING") and "2 antibodies" in said and "1 hashtags" in said


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Gene Expression", ""),
        ("protein_coding", ""),
        ("gene", ""),
        ("lncRNA", ""),
        ("Antibody Capture", "antibodies"),
        ("Peaks", "peaks"),
        ("CRISPR Guide Capture", "guides"),
        ("spike-in", "spike-ins"),
        ("Custom", "custom features"),
        (None, ""),
    ],
)
def test_what_feature_types_say(value, kind):
    assert kinds_of(pd.DataFrame({"Feature.Types": [value]}, index=["CD4"])).tolist() == [kind]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CD3_TotalSeqB", "antibodies"),
        ("ADT_CD4", "antibodies"),
        ("chr1:1000-2000", "peaks"),
        ("chrX-155-2000", "peaks"),
        ("ERCC-00002", "spike-ins"),
        ("HTO-1", "hashtags"),
        ("ERCC1", ""),
        ("CD4", ""),
        ("HTR1A", ""),
        ("ABCA1", ""),
        ("SGRN", ""),
    ],
)
def test_names_say_it_where_no_column_does(name, kind):
    assert kinds_of(pd.DataFrame(index=[name])).tolist() == [kind]


def test_a_file_of_peaks_alone_is_called_so(small, saved):
    small.var_names = [f"chr1:{i}00-{i}99" for i in range(20)]
    with pytest.raises(BiosaeError, match="No column is a gene"):
        open_cells(saved(small))


def test_no_human_gene_has_a_name_that_is_taken_for_something_else():
    from biosae_utils.cells.human import human_genes

    own = [n for n in human_genes().id_of if human_genes().is_own(n)]
    assert not (kinds_of(pd.DataFrame(index=own)) != "").any()
