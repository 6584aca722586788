"""The checks of the settings, their JSON form and their documentation."""

import json
import math
from dataclasses import fields
from pathlib import Path

import pytest

from m3rag.errors import InputError
from m3rag.training import TrainingSettings
from m3rag.training.optimizer import rate_at


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 0}, "`batch` must be at least 1, got 0"),
        ({"epochs": 0}, "`epochs` must be above 0"),
        ({"learning_rate": math.nan}, "`learning_rate` must be above 0, got nan"),
        ({"max_query_length": 2}, "`max_query_length` must be at least 3"),
        ({"warm_up": 1.5}, "`warm_up` must be a share of the run, 0 to 1, got 1.5"),
        ({"same_source": 1.5}, "`same_source` must be a share of the batches, 0 to 1, got 1.5"),
        ({"same_language": -1}, "`same_language` must be at least 0, got -1"),
        ({"centre_weight": math.inf}, "`centre_weight` must be at least 0, got inf"),
        ({"average": 1.5}, "`average` must be a share of the previous average, 0 to 1, got 1.5"),
        ({"freeze_layers": -1}, "`freeze_layers` must be at least 0, got -1"),
        ({"head_learning_rate": 0}, "`head_learning_rate` must be above 0, got 0"),
        ({"sparse_weight": -1}, "`sparse_weight` must be at least 0, got -1"),
        ({"temperature": 0}, "`temperature` must be above 0"),
        (
            {"schedule": "step"},
            "`schedule` must be one of 'linear', 'cosine', 'constant', got 'step'",
        ),
        (
            {"dtype": "float16"},
            "`dtype` must be one of 'auto', 'float32', 'bfloat16', got 'float16'",
        ),
        (
            {"freeze": ("heads",)},
            "must be one of 'encoder', 'embeddings', 'positions', got 'heads'",
        ),
        ({"teacher": "me"}, "must be one of 'none', 'kl_div', 'm3_kd_loss', got 'me'"),
    ],
)
def test_values_out_of_range(wrong, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**wrong)


def test_settings_survive_json():
    settings = TrainingSettings(freeze=("positions", "embeddings"), minutes=3)
    assert TrainingSettings(**json.loads(json.dumps(settings.to_dict()))) == settings


def test_the_documentation_has_every_default():
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for field in fields(TrainingSettings):
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        shown = "none" if default is None or default == () else f"`{shown}`"
        assert f"| `{field.name}` | {shown} | " in page


@pytest.mark.parametrize(
    ("schedule", "middle"), [("linear", 0.5), ("cosine", 0.5), ("constant", 1)]
)
def test_rates(schedule, middle):
    settings = TrainingSettings(schedule=schedule, warm_up=0.2)
    assert rate_at(settings, 0.05) == pytest.approx(0.25)
    assert rate_at(settings, 0.2) == pytest.approx(1)
    assert rate_at(settings, 0.6) == pytest.approx(middle)
    assert rate_at(settings, 1.0) == pytest.approx(1 if schedule == "constant" else 0)
    assert rate_at(TrainingSettings(schedule=schedule, warm_up=0), 0.5) == pytest.approx(middle)
    assert rate_at(TrainingSettings(warm_up=1.0), 1.0) == 1
