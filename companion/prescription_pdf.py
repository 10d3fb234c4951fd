"""A prescription as a PDF (A4), in the reader's own Chinese font: nothing is embedded (X3)."""

import asyncio
import io
from html import escape
from zoneinfo import ZoneInfo

from care.prescriptions import Prescription
from companion.prescription_page import closing, facts, heading, medicines

FONT = "STSong-Light"
"""One of the Adobe-GB1 fonts that every PDF reader has, or has another one for."""


async def write_pdf(p: Prescription, zone: ZoneInfo) -> bytes:
    # laying out takes tens of milliseconds, in which nobody else should wait
    return await asyncio.to_thread(_write, p, zone)


def _write(p: Prescription, zone: ZoneInfo) -> bytes:
    # the library is large, and few processes ever print
    from reportlab.lib.enums import TA_CENTER  # noqa: PLC0415
    from reportlab.lib.pagesizes import A4  # noqa: PLC0415
    from reportlab.lib.styles import ParagraphStyle  # noqa: PLC0415
    from reportlab.lib.units import mm  # noqa: PLC0415
    from reportlab.pdfbase import pdfmetrics  # noqa: PLC0415
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont  # noqa: PLC0415
    from reportlab.platypus import HRFlowable, Paragraph, SimpleDocTemplate, Spacer  # noqa: PLC0415

    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    body = ParagraphStyle("body", fontName=FONT, fontSize=11, leading=18, wordWrap="CJK")
    title = ParagraphStyle("title", body, fontSize=16, leading=26, alignment=TA_CENTER)
    usage = ParagraphStyle("usage", body, leftIndent=8 * mm)
    rule, gap = HRFlowable(width="100%", color="black"), Spacer(0, 3 * mm)
    hospital, name = heading(p)
    above, below = (
        [Paragraph(escape(f"{what}：{text}"), body) for what, text in rows]
        for rows in (facts(p, zone), closing(p, zone))
    )
    story = [Paragraph(escape(hospital), title), Paragraph(escape(name), title), rule, gap]
    story += above
    story += [gap, Paragraph("Rp.", body)]
    for n, (drug, how) in enumerate(medicines(p), 1):
        story += [Paragraph(escape(f"{n}. {drug}"), body), Paragraph(escape(how), usage)]
    story += [gap, rule, gap, *below]
    written = io.BytesIO()
    SimpleDocTemplate(
        written, pagesize=A4, title=f"{name} {p.id}", author=hospital,
        leftMargin=20 * mm, rightMargin=20 * mm, topMargin=20 * mm, bottomMargin=20 * mm,
    ).build(story)  # fmt: skip
    return written.getvalue()
