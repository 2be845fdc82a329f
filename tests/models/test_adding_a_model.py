"""The page on adding a model is run as it stands."""

import re
import subprocess
import sys

from checkpoints import PAGE, page_code


def test_the_page_runs_as_written(tmp_path):
    for name in ("toy.py", "use.py"):
        (tmp_path / name).write_text(page_code(name))
    done = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["my-toy", "my-toy.random-weights", "my-toy.shuffled-genes"]
    assert all("(2, 3, 16), (2, 3, 16), (2, 3, 16)" in line for line in lines)
    losses = [float(line.split()[-1]) for line in lines]
    assert len(set(losses)) == 3 and all(0 < loss < 1e3 for loss in losses)


def test_the_page_names_what_exists():
    text = PAGE.read_text()
    import biosae_utils.models.blocks as blocks

    names = re.findall(r"`(\w+)", " ".join(re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)))
    assert set(names) >= {"accepts", "load", "encode_chunk", "predict", "loss"}
    for name in names:
        assert name in ("accepts", "load") or hasattr(blocks.BlockModel, name), name
