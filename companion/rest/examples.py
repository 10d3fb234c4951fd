"""Make an example of what a JSON schema describes, for the reference: invented people alone."""

import re
from collections.abc import Mapping
from typing import Any

JsonObject = dict[str, Any]

ID = "019ab4c2d1e83f5a6b7c8d9e0f1a"
URL = f"/api/v1/files/{ID}?exp=1795334400&u={ID}&sig=3q2-7w"

BY_NAME: Mapping[str, Any] = {
    "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "age": 41,
    "amount": 100, "author": "健康编辑部", "begins": "09:45", "birth_date": "1985-03-12",
    "body": "每天**早睡**。", "bio": "从事口腔颌面外科临床工作二十余年", "category": "生活",
    "code": "246810", "consent_version": "1", "cursor": None, "date": "2026-11-23",
    "department": "口腔颌面科", "description": "牙疼三天，晚上更厉害，吃了止痛药没有用",
    "detail": "东街口1号", "distance_m": 820, "ends": "10:05", "expires_in": 900,
    "hospital": "福州市第七医院", "html": "<p>每天<strong>早睡</strong>。</p>",
    "id_card": "1101****5998", "label": "上午", "mobile": "134****5678", "name": "炎帝",
    "new_password": "wenzhen-2027", "order_label": "免费咨询,无订单号", "order_no": "WZ2611220001",
    "password": "wenzhen-2026", "password_repeat": "wenzhen-2026", "patient_name": "炎**",
    "phone": "134****5678", "positive_rate": "100.00%", "position": 2, "price": 0,
    "purpose": "核对身份", "quantity": 1, "reason": "需要线下检查", "refresh_token": "b64url",
    "region": "福建省福州市", "sex": "male", "state": "in_progress", "summary": "每天早睡",
    "terms_version": "1", "text": "您好，请说说哪里不舒服", "thumbnail_url": f"{URL}&t=1",
    "time": "2026-11-23 09:45:00", "title": "主任医师", "url": URL, "waited_s": 95,
}  # fmt: skip
"""What a field of this name usually holds."""

ASKED: Mapping[str, Any] = {
    "phone": "13412340001", "mobile": "13412340001", "id_card": "11010119850312101X",
    "purpose": "login", "title": "每天早睡",
}  # fmt: skip
"""What is different in a request: numbers come in whole."""

REFERENCES = frozenset({
    "account", "address", "by", "call", "consultation", "cover", "doctor", "doctors", "drug",
    "drug_order", "file", "group", "groups", "images", "of", "order", "parent", "patient", "person",
    "pharmacy", "post", "prescription", "room", "slot", "subject", "to_doctor", "user",
})  # fmt: skip
"""Whose text is an id."""

FORMATS: Mapping[str, str] = {"date-time": "2026-11-22T08:00:00.123Z", "date": "2026-11-23"}
TYPES: Mapping[str, Any] = {"boolean": False, "null": None, "number": 1.5}
TEXTS = ("…", "J20.9", "09:45", "246810", ID)
"""One of them fits where a name tells nothing, or too little."""


class Examples:
    """Examples by the schemas of one document. `asked`: of requests, with what they need alone."""

    def __init__(self, schemas: Mapping[str, Any], *, asked: bool) -> None:
        self._schemas = schemas
        self._asked = asked
        self._names = {**BY_NAME, **(ASKED if asked else {})}

    def of(self, schema: Mapping[str, Any], name: str = "") -> Any:
        """Give a value that fits the schema; `name` is the field it stands in."""
        schema = self._follow(schema)
        if "enum" in schema:
            return (
                self._names[name]
                if self._names.get(name) in schema["enum"]
                else next(iter(schema["enum"]))
            )
        if "const" in schema:
            return schema["const"]
        if "anyOf" in schema:
            return self._of_several(schema["anyOf"], name)
        match schema.get("type"):
            case "object":
                return self._object(schema)
            case "array":
                return [self.of(schema.get("items", {}), name)] * max(schema.get("minItems", 1), 1)
        return self._scalar(schema, name)

    def _follow(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    def _of_several(self, options: list[Mapping[str, Any]], name: str) -> Any:
        known = self._names.get(name, ...)
        if known is None and {"type": "null"} in options:
            return None
        return self.of(options[0], name)

    def _object(self, schema: Mapping[str, Any]) -> JsonObject:
        fields = schema.get("properties", {})
        needed = schema.get("required", ()) if self._asked else fields
        return {name: self.of(fields[name], name) for name in needed or fields}

    def _scalar(self, schema: Mapping[str, Any], name: str) -> Any:
        kind = schema.get("type", "string")
        if "format" in schema:
            return FORMATS.get(schema["format"], ID)
        known = self._names.get(name)
        if kind == "integer":
            least = max(schema.get("minimum", 1), schema.get("multipleOf", 1))
            return known if isinstance(known, int) and known >= least else least
        if kind == "string":
            likely = ID if name in REFERENCES or name.endswith("id") or not name else known
            return next(text for text in (likely, *TEXTS) if text and _fits(text, schema))
        return TYPES[kind]


def _fits(text: str, schema: Mapping[str, Any]) -> bool:
    least: int = schema.get("minLength", 0)
    return (
        least <= len(text) <= int(schema.get("maxLength", len(text)))
        and re.search(schema.get("pattern", ""), text) is not None
    )
