from pathlib import Path
from typing import Any

import pytest
import yaml

from realtime.secrets import ConfigError
from realtime.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_settings_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("given.yaml")
    path.write_text(text)
    return path


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_settings(write(text))
    return str(error.value)


def test_the_shipped_file_names_every_setting_with_its_default() -> None:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())

    assert shipped == Settings().model_dump(mode="json")


def test_the_shipped_file_loads_to_the_defaults() -> None:
    assert load_settings(ROOT / "config.yaml") == Settings()


def test_without_a_file_the_defaults_hold() -> None:
    assert load_settings() == Settings()


def test_config_yaml_is_read_where_it_is_present() -> None:
    Path("config.yaml").write_text("server: {port: 9001}")

    assert load_settings().server.port == 9001


def test_flags_go_before_environment_before_file_before_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write("server: {host: 127.0.0.2, port: 1, workers: 2}\nmessages: {text_max: 10}")
    monkeypatch.setenv("WENZHEN_SERVER__PORT", "2")
    monkeypatch.setenv("WENZHEN_SERVER__WORKERS", "3")

    settings = load_settings(file, {"server": {"workers": 4}})

    assert (settings.server.host, settings.server.port, settings.server.workers) == (
        "127.0.0.2",
        2,
        4,
    )
    assert settings.messages.text_max == 10
    assert settings.messages.page_max == Settings().messages.page_max


def test_one_commands_limit_leaves_the_others_in_force() -> None:
    settings = load_settings(
        write("gateway: {limits: {commands: {'typing:set': {burst: 1, per_second: 1}}}}")
    )

    limits = settings.gateway.limits.commands
    assert limits["typing:set"].burst == 1
    assert limits["message:send"] == Settings().gateway.limits.commands["message:send"]


def test_policy_holds_the_rules_alone() -> None:
    settings = load_settings(write("consultations: {images_max: 3}"))

    assert settings.policy.consultations.images_max == 3
    assert "server" not in settings.policy.model_dump()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server: {prot: 1}", "server.prot: unknown setting"),
        ("sever: {port: 1}", "sever: unknown setting"),
        ("consultations: {text: {minutes: 1}}", "consultations.text.minutes: unknown setting"),
        (
            "server: {port: eighty}",
            "server.port: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("server: {port: 65536}", "server.port: Input should be less than or equal to 65535"),
        ("messages: {text_max: 0}", "messages.text_max: Input should be greater than 0"),
        ("timezone: Mars/Olympus", "timezone: unknown time zone"),
        (
            "virtual_clock: true",
            "virtual_clock: only with demo, on a loopback host, with one worker",
        ),
        ("- a", "given.yaml must hold settings as `key: value`."),
    ],
)
def test_a_mistake_is_one_line_with_the_path_of_the_key(text: str, line: str) -> None:
    assert refusal(text) == line


def test_every_mistake_is_told_at_once() -> None:
    assert refusal("server: {prot: 1}\nmessages: {text_max: x}").splitlines() == [
        "messages.text_max: Input should be a valid integer, unable to parse string as an integer",
        "server.prot: unknown setting",
    ]


def test_text_that_is_not_yaml_is_told_with_its_line() -> None:
    assert refusal("server: {port: 1").startswith("given.yaml isn't YAML:")
    assert "line 1" in refusal("server: {port: 1")


def test_a_missing_file_that_was_named_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^absent\.yaml can't be read: No such file"):
        load_settings(Path("absent.yaml"))


@pytest.mark.parametrize("variable", ["WENZHEN_SEVER__PORT", "WENZHEN_PORT"])
def test_a_variable_that_sets_nothing_is_refused(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")

    with pytest.raises(ConfigError, match=f"^{variable}: unknown setting in the environment$"):
        load_settings()


def test_a_bad_value_in_the_environment_is_told_by_its_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WENZHEN_SERVER__PROT", "1")

    with pytest.raises(ConfigError, match=r"^server\.prot: unknown setting$"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("data_key: c2VjcmV0", "data_key"),
        ("jwt_keys: {}", "jwt_keys"),
        ("secrets: {data_key: c2VjcmV0}", "secrets"),
        ("mongodb: {uri: 'mongodb://hub:c2VjcmV0@db/'}", "mongodb.uri"),
        ("redis: {url: 'redis://:c2VjcmV0@cache/'}", "redis.url"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str, key: str) -> None:
    said = refusal(text)

    assert said.startswith(f"{key}: a ")
    assert "may not stand in given.yaml" in said
    assert "c2VjcmV0" not in said


def test_a_password_in_an_address_may_come_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENZHEN_MONGODB__URI", "mongodb://hub:pass@db/")

    assert load_settings().mongodb.uri == "mongodb://hub:pass@db/"


@pytest.mark.parametrize(
    "server",
    [{"host": "0.0.0.0"}, {"host": "hospital.example"}, {"workers": 2}],  # noqa: S104
)
def test_the_virtual_clock_is_for_one_demo_process_on_loopback(server: dict[str, Any]) -> None:
    clock = {"demo": True, "virtual_clock": True}

    assert load_settings(flags=clock).virtual_clock
    with pytest.raises(ConfigError, match=r"^virtual_clock: only with demo"):
        load_settings(flags=clock | {"server": server})
