"""`responder readiness` and `responder export geojson`, as somebody types them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from responder.cli import main
from tests import engines


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, on a database with places."""
    engines.settle(tmp_path, prepared, monkeypatch)


def output(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_readiness_tells_how_much_of_each_district_has_a_point_near() -> None:
    lines = [line.split("\t") for line in output("readiness").splitlines()]
    assert len(lines) == 13 and lines[0][0] == "district" and lines[-1][:3] == ["all", "0", "1080"]
    assert all(line[3].startswith("0% (") and line[6] == "-" for line in lines[1:])
    output("init", "--stockholm")
    rows = {line.split("\t")[0]: line.split("\t") for line in output("readiness").splitlines()}
    assert rows["Farsta"] == ["Farsta", "2", "51", "22% (35%)", "47% (4%)", "86% (0%)", "1111", "-"]
    assert rows["Bromma"][7] == "information, phone_charging, first_aid"
    assert rows["all"][1:] == ["8", "1080", "8% (63%)", "17% (15%)", "31% (1%)", "2690"]


def test_geojson_goes_out_and_comes_back_unchanged(tmp_path: Path) -> None:
    output("init", "--stockholm")
    Path("points.geojson").write_text(output("export", "geojson"), encoding="utf-8")
    assert "0 new, 0 changed, 25 unchanged" in output("import", "points", "points.geojson")
    Path("points.csv").write_text(output("export", "points"), encoding="utf-8")
    assert "0 new, 0 changed, 25 unchanged" in output("import", "points", "points.csv")
