"""A scenario file is read strictly, and a mistake in it is told with its place."""

from pathlib import Path

import pytest

from bot.errors import BadScenario
from bot.scenario import Scenario, load

HEAD = """
name: test
actors:
  patient: { name: 问诊小白, phone: "13800000001", password: secret }
steps:
  - { actor: patient, connect: true }
"""
SCENARIOS = Path("bot/scenarios")


def _load(tmp_path: Path, steps: str) -> Scenario:
    path = tmp_path / "scenario.yaml"
    path.write_text(HEAD + steps, encoding="utf-8")
    return load(path)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("  - { actor: nurse, connect: true }", "step 2: there is no actor 'nurse'"),
        ("  - { connect: true }", "step 2, actor: Field required"),
        ("  - { actor: patient }", "step 2: a step does one of .*; this has none"),
        (
            "  - { actor: patient, connect: true, disconnect: true }",
            "this has disconnect and connect",
        ),
        ("  - { actor: patient, emit: { event: x } }", "step 2, emit.command: Field required"),
        ("  - { actor: patient, wait: 3 }", "step 2, wait: Extra inputs are not permitted"),
        (
            "  - { actor: patient, call: { method: GET, path: /x, status: ok } }",
            "step 2, call.status: Input should be a valid integer",
        ),
        (
            "  - { actor: patient, connect: true, expect: { n: { $more: 1 } } }",
            r"step 2, expect: unknown matcher \$more",
        ),
        (
            "  - { actor: patient, upload: { name: a, content_type: b, base64: '###' } }",
            "step 2, upload: base64 cannot be decoded",
        ),
        ("  - [", "is not YAML"),
    ],
)
def test_a_malformed_step_is_told_by_its_number(tmp_path: Path, steps: str, message: str) -> None:
    with pytest.raises(BadScenario, match=message):
        _load(tmp_path, steps)


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"nothing\.yaml: cannot be read"):
        load(tmp_path / "nothing.yaml")


def test_the_field_on_is_a_name_and_only_true_is_true(tmp_path: Path) -> None:
    scenario = _load(tmp_path, "  - { actor: patient, emit: { command: t, data: { on: true } } }")

    emit = scenario.steps[1].emit
    assert emit is not None
    assert emit.data == {"on": True}


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_scenario_is_well_formed(path: Path) -> None:
    assert load(path).steps
