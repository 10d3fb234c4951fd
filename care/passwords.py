"""What a password must be (A2)."""

import string

LENGTH = range(8, 17)
KINDS = (string.ascii_letters, string.digits, string.punctuation)
HINT = "密码不能包括空格，由8-16位的字母、数字、符号中至少2种组成"


def check_password(password: str) -> str:
    """Return the password. Raises ValueError with the hint the manual shows."""
    kinds = sum(any(character in kind for character in password) for kind in KINDS)
    visible = all(any(character in kind for kind in KINDS) for character in password)
    if len(password) not in LENGTH or kinds < 2 or not visible:
        raise ValueError(HINT)
    return password
