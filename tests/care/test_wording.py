"""What a closing says: the spans as they are set, and of money only where it was paid."""

import pytest

from care.consultation import Because
from care.policy import ConsultationPolicy
from care.wording import closed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(24 * 3600, "24小时"), (90 * 60, "90分钟"), (15 * 60, "15分钟"), (90, "90秒")],
)
def test_a_closing_names_the_span_that_is_set(seconds: int, text: str) -> None:
    policy = ConsultationPolicy(payment_seconds=seconds, reply_seconds=seconds)
    assert closed(Because.UNPAID, policy, paid=False) == f"超过{text}未付款，订单已自动取消"
    assert f"在{text}内未回复" in closed(Because.NO_REPLY, policy, paid=True)


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("because", [Because.NOT_ACCEPTED, Because.NO_REPLY, Because.NO_SHOW])
def test_only_who_paid_is_told_that_the_money_goes_back(because: Because, paid: bool) -> None:
    text = closed(because, ConsultationPolicy(), paid=paid)
    assert text.endswith("关闭，问诊费用将原路退回" if paid else "关闭")
