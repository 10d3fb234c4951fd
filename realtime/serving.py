"""One process that serves: its servers, the application, and where to look once it is ready."""

from collections.abc import Callable

from companion.demo import DemoDoctor, DemoPatient, DemoStaff, read_data
from realtime import app
from realtime.companion import DEMO_SMS_CODE
from realtime.servers import address_error, read_secrets, servers
from realtime.settings import Settings


async def serve_alone(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until cancelled, or until background work died."""
    secrets = read_secrets(settings)
    async with servers(settings) as found:
        runtime = app.Runtime(
            settings, secrets, found.mongo_uri, found.redis_url, found.media_sockets
        )
        try:
            await app.run(runtime, on_ready)
        except OSError as error:
            raise address_error(settings.server.host, settings.server.port, error) from error


def announcement(settings: Settings, url: str) -> str:
    """Say where to look and, in the demo, whom to log in as."""
    lines = [f"Wenzhen is ready: {url}", f"  API reference: {url}/docs"]
    if settings.demo:
        data = read_data()
        lines += [f"Demo accounts (password {data.password}, SMS code {DEMO_SMS_CODE}):"]
        lines += [account_line("patient", patient) for patient in data.patients]
        lines += [account_line("doctor", doctor) for doctor in data.doctors]
        lines += [account_line(member.role, member) for member in data.staff]
    return "\n".join(lines)


def account_line(role: str, account: DemoPatient | DemoDoctor | DemoStaff) -> str:
    return f"  {role:10}  {account.phone}  {account.name}"
