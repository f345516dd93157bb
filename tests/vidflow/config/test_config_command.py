import json
import subprocess
import sys
import tomllib

import pytest

from vidflow.cli.main import main


def test_it_prints_the_whole_config_as_toml(capsys):
    with pytest.raises(SystemExit) as end:
        main(["config", "tsm.toml", "--set", "optim.lr=0.5"])
    assert end.value.code == 0
    printed = tomllib.loads(capsys.readouterr().out)
    assert printed["optim"]["lr"] == 0.5
    assert printed["data"]["train"]["crop"]["positions"] == 13
    assert printed["train"]["log_every"] == 20


def test_it_prints_json(capsys):
    with pytest.raises(SystemExit):
        main(["config", "tsm", "--json"])
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "tsm-r50"


def test_it_prints_the_schema(capsys):
    with pytest.raises(SystemExit):
        main(["config", "--schema"])
    assert json.loads(capsys.readouterr().out)["title"] == "Experiment"


def test_a_mistake_is_one_line_per_problem_with_its_own_exit_status(capfd):
    with pytest.raises(SystemExit) as end:
        main(["config", "tsm.toml", "--set", "model.detph=3", "--set", "train.epochs=0"])
    assert end.value.code == 2
    assert capfd.readouterr().err.splitlines() == [
        "error: --set model.detph=3: [model] has no key 'detph'. "
        "Its keys are name, num_classes, load_from, head_rows, options.",
        "--set train.epochs=0: [train] epochs = 0: must be greater than 0",
    ]


def test_it_asks_for_a_file(capfd):
    with pytest.raises(SystemExit) as end:
        main(["config"])
    assert end.value.code == 2
    assert "name a file" in capfd.readouterr().err


def test_reading_configs_imports_no_torch():
    code = "import sys, vidflow.config.loading as l; l.load_config('tsm'); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
