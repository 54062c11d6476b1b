"""Draws how many times better the second contestant is, one bar for each figure. Used by relay.py."""

from html import escape

LEFT, BAR_MAX, RIGHT, LINE = 430, 420, 70, 26
STYLE = "font: 13px sans-serif; fill: #222"


def svg(rows, contestants, reports):
    """An SVG without scripts or fonts of its own. Figures that are no ratio are left out."""
    gains = [(row.label, row.better, row.gain(contestants, reports)) for row in rows if row.key in reports]
    gains = [gain for gain in gains if gain[2]]
    most = max((gain for _, _, gain in gains), default=1)
    width, height = LEFT + BAR_MAX + RIGHT, LINE * (len(gains) + 2)
    # The line at which both are equal.
    equal = LEFT + BAR_MAX / most
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="18" style="{STYLE}; font-weight: bold">{escape(contestants[1])} against {escape(contestants[0])}, times better</text>',
    ]
    for index, (label, better, gain) in enumerate(gains):
        y = LINE * (index + 1.5)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end" style="{STYLE}">{escape(label)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{BAR_MAX * gain / most:.1f}" height="{LINE - 8}" fill="#2b6cb0"/>')
        parts.append(f'<text x="{LEFT + BAR_MAX * gain / most + 6:.1f}" y="{y + 13}" style="{STYLE}">{gain:.1f}× {better}</text>')
    parts.append(f'<line x1="{equal:.1f}" x2="{equal:.1f}" y1="{LINE}" y2="{height - 8}" stroke="#c53030" stroke-dasharray="4 3"/>')
    return "\n".join([*parts, "</svg>", ""])
