"""Which genes, and which terms, are of the machinery that every cell is full of."""

from __future__ import annotations

import numpy as np

from biosae_utils.analysis.abundant import abundant_terms, is_abundant
from biosae_utils.analysis.genesets import from_dict


def test_ribosome_translation_and_mitochondrion_are_told_from_names_that_look_like_them():
    yes = ["RPL13A", "RPS6", "rplp0", "MRPL3", "MT-CO1", "EEF1A1", "EIF4A2", "FAU", "RACK1"]
    no = ["RPE", "RPTOR", "MTOR", "EEFSEC", "EIFX", "FAUNA", "RPA1", "RRP1", ""]
    assert is_abundant(np.array(yes)).all() and not is_abundant(np.array(no)).any()


def test_a_term_is_of_them_from_a_quarter_of_its_genes():
    genes = ["RPL3", "RPS6", "A", "B", "C", "D", "E"]
    sets = from_dict({"yes": ["RPL3", "A", "B", "C"], "no": ["RPS6", "A", "B", "C", "D"], "none": ["A"]}, "X")
    assert abundant_terms(sets.on_genes(np.array(genes))).tolist() == [True, False, False]
