"""Everything the hospital may refuse, each with the stable code clients see.

CareError
├── BadRequest       the input breaks a rule; `fields` says which field and why
├── Unauthenticated  no valid token
├── Forbidden        not yours, or it does not exist: the two are one answer on purpose
│   └── PasswordChangeRequired  the initial password is still in force: `reason` says so
├── Conflict         the record is in another state than the request assumes
├── TooLarge
├── RateLimited      trying again later makes sense: `retry_after_ms`
├── Closed           the room takes no more messages
├── Unavailable      a part is down or full: trying again makes sense
└── Internal         unknown; logged whole, answered bare
"""

from typing import Any, ClassVar


class CareError(Exception):
    """Refuse a request with a code and a sentence the user may read."""

    code: ClassVar[str] = "internal"
    retry: ClassVar[bool] = False
    default: ClassVar[str] = "系统繁忙，请稍后再试"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.default
        super().__init__(self.message)

    def to_wire(self) -> dict[str, Any]:
        """Give the `error` object of PROTOCOL.md."""
        return {"code": self.code, "message": self.message, "retry": self.retry}


class BadRequest(CareError):
    code = "bad_request"
    default = "请求内容有误"

    def __init__(self, message: str | None = None, *, fields: dict[str, str] | None = None) -> None:
        self.fields = fields or {}
        super().__init__(message or next(iter(self.fields.values()), None))

    @classmethod
    def field(cls, name: str, why: str) -> "BadRequest":
        """Refuse one field, named as the client named it."""
        return cls(fields={name: why})

    def to_wire(self) -> dict[str, Any]:
        return super().to_wire() | {"fields": self.fields}


class Unauthenticated(CareError):
    code = "unauthenticated"
    default = "请先登录"


class Forbidden(CareError):
    code = "forbidden"
    default = "无权访问或内容不存在"


class PasswordChangeRequired(Forbidden):
    default = "请先修改初始密码"
    reason = "password_change_required"

    def to_wire(self) -> dict[str, Any]:
        return super().to_wire() | {"reason": self.reason}


class Conflict(CareError):
    code = "conflict"
    default = "当前状态不允许此操作"


class TooLarge(CareError):
    code = "too_large"
    default = "内容过大"


class RateLimited(CareError):
    code = "rate_limited"
    retry = True
    default = "操作过于频繁，请稍后再试"

    def __init__(self, retry_after_ms: int, message: str | None = None) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__(message)

    def to_wire(self) -> dict[str, Any]:
        return super().to_wire() | {"retry_after_ms": self.retry_after_ms}


class Closed(CareError):
    code = "closed"
    default = "会话已结束，不能再发送消息"


class Unavailable(CareError):
    code = "unavailable"
    retry = True
    default = "服务暂时不可用，请稍后再试"


class Internal(CareError):
    code = "internal"
    retry = True
