"""The commands. Every foreseeable failure is one sentence on stderr and exit code 1 or 2."""

# each command imports what it runs: the others answer at once
# ruff: noqa: PLC0415

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
import uvloop

from care.accounts import Role
from care.directory import Practice, Title
from care.errors import BadRequest, CareError
from realtime import logs
from realtime.load_data import LoadError
from realtime.secrets import ConfigError, refuse_unknown
from realtime.servers import PortError, check_address, read_secrets
from realtime.settings import load_settings
from realtime.workers import EXIT_CONFIG, serve_together
from storage.embedded_process import EmbeddedError
from storage.server_check import DatabaseError, ServerCheckError

T = TypeVar("T")

EXIT_FAILED = 1
PASSWORD_VARIABLE = "WENZHEN_PASSWORD"  # noqa: S105  a variable's name
DEFAULT_URL = "http://127.0.0.1:8080"


def group(about: str) -> typer.Typer:
    # typer's own tracebacks show every variable, secrets among them
    return typer.Typer(
        help=about, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


cli = group("Wenzhen (问诊): the realtime hub of an Internet hospital.")
accounts = group("Accounts of the hospital's staff.")
record = group("Records of consultations.")
prescription = group("Prescriptions (处方).")
catalogue = group("The catalogue of drugs and diagnoses.")
bot = group("The scripted client.")
config = group("The settings.")
dev = group("Help for development.")
cli.add_typer(accounts, name="accounts")
cli.add_typer(record, name="record")
cli.add_typer(prescription, name="prescription")
cli.add_typer(catalogue, name="catalogue")
cli.add_typer(bot, name="bot")
cli.add_typer(config, name="config")
cli.add_typer(dev, name="dev")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings [default: config.yaml if it exists].")
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder of the embedded database and the keys.")
]


@cli.command()
def serve(
    config_file: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data: DataFolder = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port.")] = None,
    demo: Annotated[
        bool | None, typer.Option("--demo", help="Load demo data, open the sandbox routes.")
    ] = None,
    virtual_clock: Annotated[
        bool | None, typer.Option("--virtual-clock", help="Let tests move time (with --demo).")
    ] = None,
    worker: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Run the server until SIGTERM or Ctrl-C; what it acknowledged is finished first."""
    address = given(host=host, port=port, workers=workers)
    settings = load_settings(
        config_file, given(server=address, data=data, demo=demo, virtual_clock=virtual_clock)
    )
    logs.configure(settings.log)
    if not settings.server.reuse_port:
        check_address(settings.server.host, settings.server.port)
    # cancelled it did as it was told
    with contextlib.suppress(asyncio.CancelledError):
        if settings.server.workers > 1:
            raise typer.Exit(run(serve_together(settings)))
        from realtime.serving import announcement, serve_alone

        def announce(url: str) -> None:
            if worker == 0:
                print(announcement(settings, url), flush=True)

        run(serve_alone(settings, announce))
        raise typer.Exit(EXIT_FAILED)


@accounts.command("create")
def create_account(
    role: Annotated[Role, typer.Option()],
    phone: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    password_file: Annotated[
        Path | None, typer.Option(help=f"[default: ${PASSWORD_VARIABLE}, else it is asked for]")
    ] = None,
    title: Annotated[Title, typer.Option(help="Of a doctor.")] = Title.RESIDENT,
    hospital: Annotated[str | None, typer.Option(help="Of a doctor, who needs one.")] = None,
    department: Annotated[str | None, typer.Option(help="Of a doctor, who needs one.")] = None,
    config_file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Create an account for a member of staff, also beside a running server; print its id."""
    from realtime import operations

    practice = None
    if role is Role.DOCTOR:
        if not (hospital and department):
            fail("A doctor needs --hospital and --department.", EXIT_CONFIG)
        practice = Practice(title=title, hospital=hospital, department=department)
    settings = load_settings(config_file, given(data=data))
    logs.configure(settings.log)
    password = read_password(password_file)
    print(run(operations.create_account(settings, role, phone, name, password, practice)))


@record.command("verify")
def verify_record(
    consultation: str, config_file: ConfigFile = None, data: DataFolder = None
) -> None:
    """Follow the hash chain of a consultation's record; exit code 1 where it breaks."""
    from realtime import operations

    settings = load_settings(config_file, given(data=data))
    logs.configure(settings.log)
    verdict = run(operations.verify_record(settings, consultation))
    if verdict is None:
        fail(f"There is no consultation {consultation}.")
    if verdict.found is not None:
        where = f"message {verdict.found.seq} of room {verdict.room}"
        fail(f"The record breaks at {where}: {verdict.found.why}.")
    print(f"The record is whole: {verdict.messages} messages.")


@record.command("export")
def export_record(
    consultation: str,
    out: Annotated[Path | None, typer.Option(help="[default: CONSULTATION.zip]")] = None,
    config_file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Write a consultation as one archive: the record, a page to read it by, the attachments."""
    from realtime import operations

    settings = load_settings(config_file, given(data=data))
    logs.configure(settings.log)
    out = out or Path(f"{consultation}.zip")
    if not run(operations.export_record(settings, consultation, out)):
        fail(f"There is no consultation {consultation}.")
    print(out)


@prescription.command("verify")
def verify_prescription(
    prescription_id: Annotated[str, typer.Argument(metavar="PRESCRIPTION")],
    config_file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Check the signatures of doctor and pharmacist; exit code 1 unless every one holds."""
    from realtime import operations

    settings = load_settings(config_file, given(data=data))
    logs.configure(settings.log)
    verdict = run(operations.verify_prescription(settings, prescription_id))
    if verdict is None:
        fail(f"There is no prescription {prescription_id}.")
    for who, proof in (("doctor", verdict.doctor), ("pharmacist", verdict.pharmacist)):
        says = "not signed" if proof is None else "holds" if proof.valid else "DOES NOT HOLD"
        print(f"{who}: {says}")
    if not verdict.valid:
        fail("The prescription is not as it was signed.")
    print("The prescription is as it was signed.")


@catalogue.command("load")
def load_catalogue(
    drugs: Annotated[Path | None, typer.Option(help="CSV [default: the shipped one].")] = None,
    diagnoses: Annotated[Path | None, typer.Option(help="CSV [default: the shipped one].")] = None,
    config_file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Load drugs and diagnoses; what has the same id is replaced, a wrong line loads nothing."""
    from realtime import operations

    settings = load_settings(config_file, given(data=data))
    logs.configure(settings.log)
    loaded = run(operations.load_catalogue(settings, drugs, diagnoses))
    print(f"{loaded[0]} drugs, {loaded[1]} diagnoses.")


@catalogue.command("pharmacies")
def load_pharmacies(
    pharmacies: Annotated[Path | None, typer.Option("--file", help="CSV of pharmacies.")] = None,
    offers: Annotated[Path | None, typer.Option(help="CSV of their prices and stock.")] = None,
    config_file: ConfigFile = None,
    data: DataFolder = None,
) -> None:
    """Load pharmacies, and what they ask for which drug; what has the same id is replaced."""
    from realtime import operations

    settings = load_settings(config_file, given(data=data))
    logs.configure(settings.log)
    loaded = run(operations.load_pharmacies(settings, pharmacies, offers))
    print(f"{loaded[0]} pharmacies, {loaded[1]} prices.")


@bot.command("run")
def run_bot(scenario: Path, url: str = DEFAULT_URL) -> None:
    """Play a scenario against a server; exit code 1 when an expectation breaks."""
    from bot.runner import main as play

    raise typer.Exit(play(scenario, url))


@config.command("check")
def check_config(config_file: ConfigFile = None) -> None:
    """Read the settings, and the secrets where they must be given; start nothing."""
    settings = load_settings(config_file)
    refuse_unknown(os.environ)
    if settings.mongodb.uri is not None:
        read_secrets(settings)
    print("The settings are good.")


@dev.command("load-data")
def load_rooms(
    rooms: Annotated[int, typer.Option(min=1)],
    out: Annotated[Path, typer.Option()],
    url: str = DEFAULT_URL,
) -> None:
    """Fill a --demo server with consultations in progress; write a JSON line for each."""
    from realtime.load_data import load_data

    run(load_data(url, rooms, out))


@cli.command()
def docs(out: Annotated[Path, typer.Option()] = Path("docs/reference")) -> None:
    """Write the protocol's reference: OpenAPI and AsyncAPI."""
    from realtime import operations

    for path in run(operations.write_reference(out)):
        print(path)


def given(**flags: Any) -> dict[str, Any]:
    """Leave out the flags that were not given, so that they replace nothing."""
    return {name: value for name, value in flags.items() if value is not None}


def read_password(file: Path | None) -> str:
    """Take a password from anywhere but the arguments, which every user of the machine can see."""
    if file is not None:
        try:
            return file.read_text().rstrip("\n")
        except OSError as error:
            fail(f"{file} can't be read: {error.strerror}.")
    return os.environ.get(PASSWORD_VARIABLE) or str(
        typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. SIGTERM or Ctrl-C cancels it, at any moment."""

    async def cancellable() -> T:
        task = asyncio.ensure_future(work)

        def told() -> None:
            # once: the orderly end isn't to be cut short by being told again
            if not task.cancelling():
                task.cancel()

        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, told)
        return await task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(cancellable())


def fail(sentence: str, code: int = EXIT_FAILED) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise SystemExit(code)


def main() -> None:
    """Run the command line, turning what can be foreseen into its sentence."""
    try:
        cli()
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)
    except (EmbeddedError, PortError, ServerCheckError, LoadError) as error:
        fail(str(error))
    except BadRequest as error:
        fail("\n".join(f"--{field}: {why}" for field, why in error.fields.items()) or str(error))
    except CareError as error:
        fail(str(error))
    except DatabaseError as error:
        fail(f"The database refused: {error}")
    except asyncio.CancelledError:
        fail("Stopped before the end.")
