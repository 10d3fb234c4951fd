"""The resident identity card's number, GB 11643-1999 (P2)."""

import re
from datetime import date

from care.errors import BadRequest

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS = "10X98765432"
WRONG = "身份证号有误，请核对"


def check_id_card(id_card: str) -> tuple[str, date]:
    """Give the sex and birth date an ID card states. Raises BadRequest."""
    if not re.fullmatch("[1-9][0-9]{16}[0-9X]", id_card):
        raise BadRequest.field("id_card", WRONG)
    total = sum(int(digit) * weight for digit, weight in zip(id_card, WEIGHTS, strict=False))
    if id_card[17] != CHECK_CHARACTERS[total % 11]:
        raise BadRequest.field("id_card", WRONG)
    try:
        born = date(int(id_card[6:10]), int(id_card[10:12]), int(id_card[12:14]))
    except ValueError:
        raise BadRequest.field("id_card", WRONG) from None
    return ("male" if int(id_card[16]) % 2 else "female"), born
