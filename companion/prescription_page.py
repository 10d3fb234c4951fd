"""A prescription as a page to print (A4), and the words it shares with the PDF (X3)."""

from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from care.prescriptions import Prescription, PrescriptionState

SEXES = {"male": "男", "female": "女"}
STATES = {
    PrescriptionState.DRAFT: "草稿",
    PrescriptionState.SUBMITTED: "待审核",
    PrescriptionState.APPROVED: "已审核",
    PrescriptionState.REJECTED: "审核未通过",
    PrescriptionState.DELIVERED: "已取药",
    PrescriptionState.VOID: "已作废",
}
STYLE = """
@page { size: A4; margin: 20mm }
body { font: 12pt/1.6 "Songti SC", SimSun, "Noto Serif CJK SC", serif; color: #000;
  max-width: 170mm; margin: 0 auto }
h1, h2 { text-align: center; margin: 0; font-weight: 600 }
h1 { font-size: 18pt } h2 { font-size: 14pt; border-bottom: 1px solid; padding-bottom: 3mm }
dl { display: grid; grid-template-columns: 1fr 1fr; gap: 1mm 6mm; margin: 3mm 0 }
dl div { display: flex; gap: 2mm } dt::after { content: "：" } dd { margin: 0 }
ol { margin: 2mm 0; min-height: 60mm } li small { display: block; font-size: 11pt }
footer { border-top: 1px solid; padding-top: 2mm } .wide { grid-column: 1 / -1 }
"""


def heading(p: Prescription) -> tuple[str, str]:
    state = "" if p.state is PrescriptionState.APPROVED else f"（{STATES[p.state]}）"
    return p.doctor.hospital, f"互联网医院电子处方笺{state}"


def facts(p: Prescription, zone: ZoneInfo) -> list[tuple[str, str]]:
    """List what stands above the drugs, in its order."""
    return [
        ("处方编号", p.id),
        ("开具日期", spoken(p.signature.at if p.signature else p.created_at, zone)),
        ("姓名", p.person.name),
        ("性别", SEXES.get(p.person.sex, p.person.sex)),
        ("年龄", f"{p.person.age}岁"),
        ("科别", p.doctor.department),
        ("过敏史", "、".join(p.allergies) or "未述"),
        ("临床诊断", "；".join(f"{d.name}（{d.code}）" for d in p.diagnoses)),
    ]


def medicines(p: Prescription) -> list[tuple[str, str]]:
    """List the drugs, each with how it is used."""
    return [
        (f"{i.name}　{i.specification}　× {i.quantity}{i.unit}", f"用法：{i.usage}")
        for i in p.drugs
    ]


def closing(p: Prescription, zone: ZoneInfo) -> list[tuple[str, str]]:
    """List what stands below the drugs."""
    decided = p.decision if p.issued else None
    return [
        ("医嘱", p.advice or "无"),
        ("医师", f"{p.doctor.name}（{'已电子签名' if p.signature else '未签名'}）"),
        ("审核药师", f"{decided.signature.name}（已电子签名）" if decided else "未审核"),
        ("有效期至", spoken(p.valid_until, zone) if p.valid_until else "审核后生效"),
    ]


def spoken(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def write_page(p: Prescription, zone: ZoneInfo) -> str:
    """Write the page: it needs nothing from elsewhere."""
    hospital, title = (escape(text) for text in heading(p))
    drugs = "".join(
        f"<li>{escape(name)}<small>{escape(usage)}</small></li>" for name, usage in medicines(p)
    )
    return (
        f'<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{hospital}</h1><h2>{title}</h2>"
        f"{_list(facts(p, zone))}<strong>Rp.</strong><ol>{drugs}</ol>"
        f"<footer>{_list(closing(p, zone))}</footer></body></html>"
    )


def _list(rows: list[tuple[str, str]]) -> str:
    wide = {"处方编号", "临床诊断", "医嘱"}
    cells = (
        f"<div{' class=wide' if name in wide else ''}><dt>{name}</dt><dd>{escape(text)}</dd></div>"
        for name, text in rows
    )
    return f"<dl>{''.join(cells)}</dl>"
