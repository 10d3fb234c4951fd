"""The command line as people and supervisors use it: exit codes, sentences, signals."""

import asyncio
import json
import os
import signal
import socket
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from bot.runner import PASSED, play
from bot.scenario import load
from realtime import cli
from realtime.secrets import MAKERS
from storage.mongod import holder
from tests.command import wenzhen
from tests.scenarios.people import enter
from tests.server import ServerProcess

GROUP = Path("bot/scenarios/group_consultation.yaml").absolute()


@pytest.fixture(autouse=True)
def no_settings_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Take back what a command run in this process makes of its signals."""
    kept = [(name, signal.getsignal(name)) for name in (signal.SIGTERM, signal.SIGINT)]
    yield
    for name, handler in kept:
        signal.signal(name, handler)


@pytest.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Serve the demo data for the commands that are run beside a server."""
    server = ServerProcess(tmp_path_factory.mktemp("cli") / "data")
    await server.start()
    yield server
    await server.close()


def here(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command that starts nothing, in this process."""
    monkeypatch.setattr(sys, "argv", ["wenzhen", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def children(pid: int) -> set[int]:
    """List the worker processes of a supervisor."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in listed if b"--worker" in command_of(child)}


async def two_workers(supervisor: int, without: int = 0) -> set[int]:
    """Wait for two workers, `without` not among them."""
    async with asyncio.timeout(30):
        while len(workers := children(supervisor) - {without}) < 2:  # noqa: ASYNC110 unannounced
            await asyncio.sleep(0.05)
    return workers


def command_of(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_good_settings_are_confirmed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("config", "check", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "The settings are good.\n"


def test_wrong_settings_are_a_line_each_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.yaml").write_text("server: {prot: 1, workers: none}")

    assert here("config", "check", monkeypatch=monkeypatch) == 2

    assert capsys.readouterr().err.splitlines() == [
        "server.workers: Input should be a valid integer, unable to parse string as an integer",
        "server.prot: unknown setting",
    ]


def test_check_asks_for_the_secrets_of_a_database_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WENZHEN_MONGODB__URI", "mongodb://db.example/")

    assert here("config", "check", monkeypatch=monkeypatch) == 2

    told = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == list(MAKERS)


def test_check_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    here("config", "check", monkeypatch=monkeypatch)

    assert list(Path.cwd().iterdir()) == []


def test_a_virtual_clock_without_demo_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("serve", "--virtual-clock", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == (
        "virtual_clock: only with demo, on a loopback host, with one worker\n"
    )


def test_a_taken_port_is_one_sentence_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]

        assert here("serve", "--port", str(port), monkeypatch=monkeypatch) == 1

    assert capsys.readouterr().err == (
        f"Port {port} on 127.0.0.1 is taken by another program: "
        "stop it, or choose another port with --port.\n"
    )
    assert not Path("data").exists()


@pytest.mark.parametrize("arguments", [("no-such-command",), ("serve", "--port", "x")])
def test_a_wrong_command_line_is_exit_code_2(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here(*arguments, monkeypatch=monkeypatch) == 2


def test_a_password_file_that_is_absent_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = ("--role", "pharmacist", "--phone", "13700001111", "--name", "张仲景")

    code = here(
        *("accounts", "create", *account, "--password-file", "absent"), monkeypatch=monkeypatch
    )

    assert code == 1
    assert capsys.readouterr().err == "absent can't be read: No such file or directory.\n"


def test_load_data_without_a_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

        code = here(
            *("dev", "load-data", "--url", url, "--rooms", "1", "--out", "rooms"),
            monkeypatch=monkeypatch,
        )

    assert code == 1
    assert capsys.readouterr().err == f"No server answers at {url}; start one with `make run`.\n"


async def test_a_file_in_place_of_the_data_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    code, _, err = await wenzhen("serve", "--port", "0", "--data", "data")

    assert code == 2
    assert len(err.splitlines()) == 1
    assert "can't be written" in err


async def test_the_reference_is_written_without_a_database(tmp_path: Path) -> None:
    code, out, err = await wenzhen("docs", "--out", "reference")

    assert (code, err) == (0, "")
    assert out.split() == ["reference/openapi.json", "reference/asyncapi.json"]
    socket_document = json.loads((tmp_path / "reference" / "asyncapi.json").read_text())
    assert "message:send" in json.dumps(socket_document)


async def test_it_says_when_it_is_ready_and_whom_to_log_in_as(demo: ServerProcess) -> None:
    said = demo.log_text()

    assert f"Wenzhen is ready: {demo.url}" in said
    assert "13800000001  问诊小白" in said
    assert "13900000001  小傅" in said
    assert "wenzhen-2026" in said


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_order_and_takes_its_database_along(
    tmp_path: Path, end: signal.Signals
) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    try:
        assert holder(server.data / "mongodb") is not None

        os.kill(server.pid, end)
        code = await server.stop()

        assert code == 0
        assert holder(server.data / "mongodb") is None
    finally:
        await server.close()


async def test_a_second_server_on_the_data_is_refused_by_the_firsts_number(
    demo: ServerProcess,
) -> None:
    code, _, err = await wenzhen("serve", "--port", "0", "--data", str(demo.data))

    assert code == 1
    assert err == (
        f"Another server (process {demo.pid}) uses the data folder {demo.data}: "
        "stop it, or give --data another folder.\n"
    )


async def test_staff_created_beside_a_running_server_logs_in(demo: ServerProcess) -> None:
    code, out, err = await wenzhen(
        *("accounts", "create", "--role", "operator", "--phone", "13600009999"),
        *("--name", "值班员", "--data", str(demo.data)),
        env={"WENZHEN_PASSWORD": "night-shift-7"},
    )

    assert (code, err) == (0, "")
    login = {"phone": "13600009999", "password": "night-shift-7"}
    async with (
        aiohttp.ClientSession(demo.url) as http,
        http.post("/api/v1/auth/login", json=login) as answer,
    ):
        assert answer.status == 200
        assert (await answer.json())["user"]["id"] == out.strip()


async def test_a_weak_password_is_refused_by_the_hospitals_rule(demo: ServerProcess) -> None:
    code, out, err = await wenzhen(
        *("accounts", "create", "--role", "operator", "--phone", "13600009999"),
        *("--name", "值班员", "--data", str(demo.data)),
        env={"WENZHEN_PASSWORD": "short"},
    )

    assert (code, out) == (1, "")
    assert err.startswith("--password: ")
    assert "short" not in err


async def test_loaded_rooms_are_written_and_their_records_verified(
    demo: ServerProcess, tmp_path: Path
) -> None:
    code, _, err = await wenzhen(
        "dev", "load-data", "--url", demo.url, "--rooms", "2", "--out", "rooms.jsonl"
    )
    assert (code, err) == (0, "")
    rooms = [json.loads(line) for line in (tmp_path / "rooms.jsonl").read_text().splitlines()]
    assert [set(room) for room in rooms] == [
        {"room", "consultation", "patient_token", "doctor_token"}
    ] * 2

    verify = ("record", "verify", "--data", str(demo.data))
    code, out, err = await wenzhen(*verify, rooms[0]["consultation"])
    assert (code, err) == (0, "")
    assert out.startswith("The record is whole: ")

    code, _, err = await wenzhen(*verify, "unknown")
    assert (code, err) == (1, "There is no consultation unknown.\n")


async def test_a_record_is_exported_whole_as_one_archive(
    demo: ServerProcess, tmp_path: Path
) -> None:
    await wenzhen("dev", "load-data", "--url", demo.url, "--rooms", "1", "--out", "one.jsonl")
    room = json.loads((tmp_path / "one.jsonl").read_text())
    out = tmp_path / "record.zip"
    export = ("record", "export", "--data", str(demo.data), "--out", str(out))

    code, printed, err = await wenzhen(*export, room["consultation"])

    assert (code, printed.strip(), err) == (0, str(out), "")
    with zipfile.ZipFile(out) as archive:
        assert set(archive.namelist()) == {"record.json", "index.html"}
        record = json.loads(archive.read("record.json"))
        page = archive.read("index.html").decode()
    assert record["consultation"]["room"] == room["room"]
    assert [m["seq"] for m in record["messages"]] == [1, 2, 3]
    assert "压力测试产生的问诊记录" in page
    code, _, err = await wenzhen(*export, "unknown")
    assert (code, err) == (1, "There is no consultation unknown.\n")


@pytest.mark.rule("G3", "S1", "S2")
async def test_a_group_consultation_is_part_of_the_record(
    demo: ServerProcess, tmp_path: Path
) -> None:
    assert await play(load(GROUP), demo.url) == PASSED
    async with aiohttp.ClientSession() as http:
        patient = await enter(demo.url, http, "13800000002")
        consultation = (await patient.get("/consultations?state=ended"))["items"][0]["id"]
    out = tmp_path / "record.zip"
    code, _, err = await wenzhen(
        "record", "export", "--data", str(demo.data), "--out", str(out), consultation
    )
    assert (code, err) == (0, "")
    with zipfile.ZipFile(out) as archive:
        record = json.loads(archive.read("record.json"))
        page = archive.read("index.html").decode()
    (kept,) = record["groups"]
    assert kept["group"]["conclusion"] == "转入外科门诊，今日完善CT"
    assert "<h2>会诊 颌面外伤多科讨论</h2>" in page
    said = len(record["messages"]) + len(kept["messages"])
    code, printed, _ = await wenzhen("record", "verify", "--data", str(demo.data), consultation)
    assert (code, printed.strip()) == (0, f"The record is whole: {said} messages.")


async def test_a_doctor_created_is_found_in_the_directory(demo: ServerProcess) -> None:
    doctor = ("accounts", "create", "--role", "doctor", "--phone", "13900009999")
    code, _, err = await wenzhen(*doctor, "--name", "扁鹊", "--data", str(demo.data))
    assert (code, err) == (2, "A doctor needs --hospital and --department.\n")

    code, out, err = await wenzhen(
        *(*doctor, "--name", "扁鹊", "--title", "副主任医师", "--data", str(demo.data)),
        *("--hospital", "县中医院", "--department", "针灸科"),
        env={"WENZHEN_PASSWORD": "needle-2026"},
    )

    assert (code, err) == (0, "")
    login = {"phone": "13900009999", "password": "needle-2026"}
    async with aiohttp.ClientSession(demo.url) as http:
        async with http.post("/api/v1/auth/login", json=login) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with http.get(f"/api/v1/doctors/{out.strip()}", headers=headers) as answer:
            page = await answer.json()
    assert (page["name"], page["title"], page["department"]) == ("扁鹊", "副主任医师", "针灸科")


async def test_a_scenario_that_is_absent_is_exit_code_2() -> None:
    code, _, err = await wenzhen("bot", "run", "absent.yaml")

    assert code == 2
    assert len(err.splitlines()) == 1


async def test_a_killed_worker_is_replaced_and_all_of_them_drain(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--workers", "2")
    await server.start()
    try:
        killed = min(await two_workers(server.pid))
        os.kill(killed, signal.SIGKILL)
        workers = await two_workers(server.pid, without=killed)

        assert await server.stop() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(max(workers), 0)
    finally:
        await server.close()


async def test_workers_whose_settings_are_refused_end_the_server(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "data_key").write_text("not a key")

    code, _, err = await wenzhen("serve", "--port", "0", "--workers", "2", "--data", str(tmp_path))

    assert code == 2
    assert err == "data_key: must be 32 bytes in base64 (openssl rand -base64 32)\n"
