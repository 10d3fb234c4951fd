"""How personal data is shown where its full value is not needed (P3)."""


def mask_phone(phone: str) -> str:
    """Show `134****5678`."""
    return f"{phone[:3]}****{phone[-4:]}"


def mask_name(name: str) -> str:
    """Show the first character alone."""
    return f"{name[:1]}**"


def mask_id_card(id_card: str) -> str:
    """Show `1101****5998`."""
    return f"{id_card[:4]}****{id_card[-4:]}"


def mask_card(card: str) -> str:
    """Show a card number's ends, fewer of a short one."""
    shown = 4 if len(card) >= 12 else 2
    return f"{card[:shown]}****{card[-shown:]}"
