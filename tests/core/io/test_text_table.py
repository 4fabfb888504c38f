"""Tables on the screen: what is wide goes below."""

import random

import pytest

from autoloss.core.io.text_table import BESIDE, aligned, leaderboard, listed


def board(metrics, runs):
    draw = random.Random(metrics * 100 + runs)
    header = ["rank", "run", "score", *(f"metric_{i}" for i in range(metrics)), "sum of weights"]
    rows = [
        [str(r + 1), f"run{'n' * (r % 5)}", *(f"{draw.random():.4f}" for _ in range(metrics + 2))] for r in range(runs)
    ]
    return [header, *rows], range(3, 3 + metrics)


@pytest.mark.parametrize("metrics", range(BESIDE + 1))
def test_a_few_metrics_stay_beside_each_other(metrics):
    rows, which = board(metrics, 4)
    assert leaderboard(rows, which, left=(1,)) == aligned(rows, left=(1,))


@pytest.mark.parametrize("metrics", [BESIDE + 1, 25])
@pytest.mark.parametrize("runs", [1, 6, 7, 20])
def test_many_go_below_each_other(metrics, runs):
    rows, which = board(metrics, runs)
    first, *tables = leaderboard(rows, which, left=(1,)).split("\n\n")
    assert max(map(len, first.splitlines())) < 50
    assert [line.split()[0] for line in first.splitlines()] == [row[0] for row in rows]
    assert "metric" not in first
    found = {}
    for one in tables:
        head, *lines = (line.split() for line in one.splitlines())
        assert max(map(len, one.splitlines())) < 100
        assert [line[0] for line in lines] == rows[0][3:-1]
        assert len(head) <= 1 + BESIDE
        for line in lines:
            found |= {(rank, line[0]): cell for rank, cell in zip(head[1:], line[1:], strict=True)}
    assert found == {(row[0], rows[0][i]): row[i] for row in rows[1:] for i in which}


def test_many_numbers_are_a_list():
    values = {f"m{i}": i / 3 for i in range(BESIDE + 1)}
    lines = listed("title", values).splitlines()
    assert lines[0] == "title:"
    assert [line.split() for line in lines[1:]] == [[name, f"{value:.4g}"] for name, value in values.items()]
    values.popitem()
    shown = listed("title", values).removeprefix("title: ").split("  ")
    assert shown == [f"{name} {value:.4g}" for name, value in values.items()]
