import base64
import json
import multiprocessing
import stat
from pathlib import Path

import pytest

from realtime.secrets import (
    MAKERS,
    ConfigError,
    Secrets,
    load_secrets,
    new_key,
    new_key_set,
)


def given() -> dict[str, str]:
    return {f"WENZHEN_SECRET_{name.upper()}": make() for name, make in MAKERS.items()}


def made_by_another(folder: str) -> Secrets:
    return load_secrets(Path(folder), {}, make_missing=True)


def test_missing_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    first = load_secrets(tmp_path / "keys", {}, make_missing=True)
    second = load_secrets(tmp_path / "keys", {}, make_missing=True)

    assert first == second
    assert len(first.data_key) == len(first.index_key) == len(first.url_key) == 32
    assert len({first.data_key, first.index_key, first.url_key}) == 3
    assert first.jwt_current in first.jwt_keys


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    load_secrets(folder, {}, make_missing=True)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert {file.name for file in folder.iterdir()} == MAKERS.keys()


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as processes:
        found = processes.map(made_by_another, [str(tmp_path / "keys")] * 8, chunksize=1)

    assert all(secrets == found[0] for secrets in found)


def test_with_a_database_of_ones_own_each_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_secrets(tmp_path / "keys", {}, make_missing=False)

    lines = str(refusal.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == list(MAKERS)
    assert "set WENZHEN_SECRET_DATA_KEY or WENZHEN_SECRET_DATA_KEY_FILE, or write" in lines[1]
    assert not (tmp_path / "keys").exists()


def test_environment_goes_before_named_file_before_folder(tmp_path: Path) -> None:
    keys = [new_key() for _ in range(3)]
    (tmp_path / "url_key").write_text(keys[0])
    (tmp_path / "mounted").write_text(f"{keys[1]}\n")
    environ = given()
    del environ["WENZHEN_SECRET_URL_KEY"]

    def url_key() -> bytes:
        return base64.b64encode(load_secrets(tmp_path, environ, make_missing=False).url_key)

    assert url_key() == keys[0].encode()
    environ["WENZHEN_SECRET_URL_KEY_FILE"] = str(tmp_path / "mounted")
    assert url_key() == keys[1].encode()
    environ["WENZHEN_SECRET_URL_KEY"] = keys[2]
    assert url_key() == keys[2].encode()


def test_every_key_of_the_set_verifies_and_the_current_one_signs(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    key_set = json.dumps({"current": "b", "keys": {"a": old, "b": new}})

    secrets = load_secrets(
        tmp_path, given() | {"WENZHEN_SECRET_JWT_KEYS": key_set}, make_missing=False
    )

    assert secrets.jwt_current == "b"
    assert set(secrets.jwt_keys) == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATA_KEY", "too short"),
        ("URL_KEY", base64.b64encode(b"x" * 31).decode()),
        ("JWT_KEYS", "not json"),
        ("JWT_KEYS", '{"current": "a", "keys": {}}'),
        ("JWT_KEYS", '{"current": "a", "keys": {"a": "c2hvcnQ="}}'),
        ("JWT_KEYS", '["a"]'),
    ],
)
def test_a_malformed_key_is_refused_without_repeating_it(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name.lower()}.*must be") as refusal:
        load_secrets(tmp_path, given() | {f"WENZHEN_SECRET_{name}": value}, make_missing=False)

    assert value not in str(refusal.value)


def test_a_misspelt_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="WENZHEN_SECRET_DATAKEY: unknown secret"):
        load_secrets(tmp_path, {"WENZHEN_SECRET_DATAKEY": new_key()}, make_missing=True)


def test_a_named_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    environ = {"WENZHEN_SECRET_DATA_KEY_FILE": str(tmp_path / "absent")}

    with pytest.raises(ConfigError, match=r"WENZHEN_SECRET_DATA_KEY_FILE: .*absent doesn't exist"):
        load_secrets(tmp_path, environ, make_missing=True)


def test_a_lost_data_key_is_never_replaced_while_its_data_is_there(tmp_path: Path) -> None:
    folder, database = tmp_path / "keys", tmp_path / "mongodb"
    load_secrets(folder, {}, make_missing=True, database=database)
    database.mkdir()
    (folder / "data_key").unlink()

    with pytest.raises(ConfigError, match=r"^data_key: missing from .* was encrypted with it"):
        load_secrets(folder, {}, make_missing=True, database=database)

    assert not (folder / "data_key").exists()


def test_a_lost_signing_key_is_made_anew(tmp_path: Path) -> None:
    folder, database = tmp_path / "keys", tmp_path / "mongodb"
    before = load_secrets(folder, {}, make_missing=True, database=database)
    database.mkdir()
    (folder / "jwt_keys").unlink()

    after = load_secrets(folder, {}, make_missing=True, database=database)

    assert after.data_key == before.data_key
    assert after.jwt_current != before.jwt_current


def test_secrets_do_not_show_in_a_repr(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path, {"WENZHEN_SECRET_JWT_KEYS": new_key_set()}, make_missing=True)

    assert repr(secrets) == f"Secrets(jwt_current={secrets.jwt_current!r})"


def test_an_optional_secret_is_absent_where_nobody_gave_it(tmp_path: Path) -> None:
    assert load_secrets(tmp_path, {}, make_missing=True).optional == {}
    given_it = load_secrets(tmp_path, {"WENZHEN_SECRET_WECHAT_SECRET": "s"}, make_missing=False)
    assert given_it.optional == {"wechat_secret": "s"}
