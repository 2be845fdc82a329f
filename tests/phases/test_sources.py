"""Which code made a result: imports are followed, also lazy ones, and only what computes counts."""

from __future__ import annotations

from pathlib import Path

from biosae_utils.phases import sources


def names(*starts: Path) -> set[str]:
    return {
        p.relative_to(sources.PACKAGE).as_posix() for p in sources.closure(*starts) if p.is_relative_to(sources.PACKAGE)
    }


def test_imports_are_followed_also_inside_functions_and_in_strings(tmp_path):
    file = tmp_path / "phase.py"
    file.write_text("def f():\n    from biosae_utils.analysis import power\n    return 'biosae_utils.cells.planted'\n")
    found = names(file)
    assert {"analysis/power.py", "analysis/enrich.py", "cells/planted.py"} <= found
    assert not found & sources.FRAMEWORK and "book/page.py" not in found


def test_the_framework_exists_and_computes_nothing():
    for name in sources.FRAMEWORK:
        assert (sources.PACKAGE / name).is_file(), name
        assert "scipy" not in (sources.PACKAGE / name).read_text(), name


def test_the_hash_is_of_meaning_and_not_of_words(tmp_path):
    def hashed(text: str) -> str:
        path = tmp_path / f"{abs(hash(text))}.py"
        path.write_text(text)
        return sources.code_hash([path])

    base = hashed('"""Doc."""\nx = Field(1, description="a")\n')
    assert base == hashed('"""Other."""\n\n# why\nx = Field(\n    1,\n    description="b",\n)\n')
    assert base != hashed('x = Field(2, description="a")\n') and base != hashed('y = Field(1, description="a")\n')
