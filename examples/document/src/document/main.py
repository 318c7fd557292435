"""A letter to somebody, as PDF on stdout."""

import html
import sys

from weasyprint import HTML

PAGE = """
<html lang="en">
<head><title>For {name}</title><style>@page {{ size: A5 }} body {{ font: 12pt "DejaVu Sans" }}</style></head>
<body><h1>Dear {name},</h1><p>This page was set by Pango, in an image without a shell.</p></body>
</html>
"""


def main() -> None:
    """Write the letter."""
    name = html.escape(sys.argv[1] if len(sys.argv) > 1 else "reader")
    HTML(string=PAGE.format(name=name)).write_pdf(sys.stdout.buffer)
