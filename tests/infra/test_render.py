"""The command: what it writes, what it says, and that the samples and the wheel have the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.infra.render import FILES, render, write
from jobs.infra.values import Values, read_values

ROOT = Path(__file__).parents[2]


@pytest.fixture
def moee(load, capsys):
    run = load("jobs/conftest.py").run_moee
    return lambda *arguments: run(capsys, *arguments)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_samples_are_current():
    assert tree(ROOT / "infra") == render(Values()), "stale: run `moee infra render`, and look at the difference"


def test_values_lead_to_files(moee, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = moee("infra", "values")
    assert (outcome.status, outcome.err) == (0, "")
    Path("values.yaml").write_text(outcome.out.replace('"s3://lake/docs"', '"gs://other/table"'))
    outcome = moee("infra", "render", "--values", "values.yaml", "--out", "out", "--json")
    assert outcome.status == 0
    assert outcome.json["changed"] == outcome.json["files"]
    assert sorted(outcome.json["files"]) == sorted(tree(tmp_path / "out"))
    assert "gs://other/table" in Path("out/kubernetes/embed.yaml").read_text()
    assert read_values(Path("out/values.yaml")) == read_values(Path("values.yaml"))
    again = moee("infra", "render", "--values", "values.yaml", "--out", "out")
    assert (again.out, again.err) == (f"{len(outcome.json['files'])} files in out, 0 changed\n", "")


def test_rendering_without_values_says_that_they_are_examples(moee, tmp_path):
    outcome = moee("infra", "render", "--out", tmp_path)
    assert outcome.status == 0
    assert "table, images and projects are examples" in outcome.err


def test_wrong_values_write_nothing(moee, tmp_path):
    (tmp_path / "values.yaml").write_text("embed: {arguments: [--tabel, x]}")
    outcome = moee("infra", "render", "--values", tmp_path / "values.yaml", "--out", tmp_path / "out")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.error == "error: embed.arguments: unrecognized arguments: --tabel x"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told(moee, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = moee("infra", "render", "--out", tmp_path / "file")
    assert outcome.status == 2
    assert "cannot write into" in outcome.err


def test_what_is_no_longer_rendered_goes_and_other_files_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write(render(Values(model_cache={"claim": "models"})), tmp_path)
    assert "kubernetes/models.yaml" in tree(tmp_path)
    assert set(write(render(Values()), tmp_path)) >= {"kubernetes/models.yaml", "values.yaml"}
    assert tree(tmp_path) == {**render(Values()), "notes.txt": "mine"}


def test_every_file_says_what_it_is_for(files):
    for path, text in files.items():
        if path not in {"values.yaml", "grafana/moee.json"}:  # JSON has no comments
            assert "\n# Made by `moee infra render`: change the values, not this file.\n" in text, path


def test_yaml_holds_no_anchors_and_keeps_the_serve_configuration_readable(files):
    for path, text in files.items():
        if path.endswith(".yaml"):
            assert "&id" not in text
            assert all(document for document in yaml.safe_load_all(text))
    assert "serveConfigV2: |\n" in files["kubernetes/serve.yaml"]


def test_files_are_in_the_order_of_an_installation():
    order = [Path(path).stem for path in FILES]
    assert order.index("namespace") < order.index("secrets") < order.index("network") < order.index("cluster")


def test_the_wheel_renders_the_same(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels, target = tmp_path / "wheels", tmp_path / "installed"
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT]
    subprocess.run([*pip, *build], check=True, timeout=120)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", target, wheel], check=True, timeout=120)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import jobs.cli, sys; print(jobs.cli.__file__); sys.exit(jobs.cli.main(['infra', 'render']))",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.startswith(str(target))
    assert tree(tmp_path / "infra") == render(Values())
