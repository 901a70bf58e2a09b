"""PDF files, written by hand: pages with a coloured square, whose sizes may be any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Page = tuple[float, float, tuple[float, float, float]]
LETTER = (612.0, 792.0)


def pdf(
    pages: Sequence[Page], *, trailer: str = "", claimed: int | None = None, drawn: Mapping[int, str] | None = None
) -> bytes:
    """Return a PDF of pages of (width, height) points that are filled with a colour.

    Args:
        pages: width, height, (red, green, blue) from 0 to 1.
        trailer: further entries of the trailer: an encryption dictionary.
        claimed: the number of pages that the document claims to have.
        drawn: page (from 1) → its content, in place of the colour.
    """
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(len(pages)))
    count = len(pages) if claimed is None else claimed
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {count} >>"]
    for i, (width, height, colour) in enumerate(pages):
        content = (drawn or {}).get(i + 1, f"{colour[0]} {colour[1]} {colour[2]} rg 0 0 {width} {height} re f")
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents {4 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    body, offsets = "%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + end).encode()


def coloured(pages: int) -> bytes:
    """Return a PDF whose page n (from 1) is filled with red n / pages."""
    return pdf([(*LETTER, (n / pages, 0.0, 0.0)) for n in range(1, pages + 1)])


ENCRYPTION = (
    "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 "
    f"/O <{'28bf4e5e4e758a41' * 4}> /U <{'0f' * 32}> >> /ID [<{'ab' * 16}> <{'ab' * 16}>]"
)
"""A trailer that asks for a password nobody knows."""
