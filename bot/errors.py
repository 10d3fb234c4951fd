"""What can go wrong with a run, each told in one sentence.

BotError
├── BadScenario  the file breaks the language; the message names the step
├── NoServer     nobody answers at the address
├── NoAddress    this machine has no network address over which a call could run
└── Broken       the server did otherwise than the scenario expects: `differences` says where
"""


class BotError(Exception):
    pass


class BadScenario(BotError):
    pass


class NoServer(BotError):
    pass


class NoAddress(BotError):
    pass


class Broken(BotError):
    def __init__(self, *differences: str) -> None:
        self.differences = differences
        super().__init__("; ".join(differences))
