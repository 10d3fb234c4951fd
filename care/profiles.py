"""What a user may change of the own account, and what must agree (A8)."""

from datetime import date
from typing import Any

from care.accounts import Account
from care.errors import BadRequest
from care.people import check_id_card, refuse_unborn


def edit(account: Account, changes: dict[str, Any], today: date) -> Account:
    """Return the account with the changes; an ID card brings its sex and birth date along.

    Raises BadRequest where the ID card is wrong, a date lies ahead, or the two contradict.
    """
    id_card = changes.get("id_card", account.id_card)
    if id_card is not None:
        changes = {**changes, **_agreeing(id_card.upper(), changes)}
    if "birth_date" in changes:
        refuse_unborn(date.fromisoformat(changes["birth_date"]), today, "birth_date")
    return account.changed(**changes, version=account.version + 1)


def _agreeing(id_card: str, changes: dict[str, Any]) -> dict[str, str]:
    """Give the card and what it states. Raises BadRequest where the changes say otherwise."""
    card = check_id_card(id_card)
    stated = {"sex": card.sex.value, "birth_date": card.birth_date.isoformat()}
    for field, value in stated.items():
        if changes.get(field, value) != value:
            raise BadRequest.field(field, "与身份证号不一致")
    return {"id_card": id_card, **stated}
