"""SPDX licence expressions, as PEP 639 has them."""


def expression(text: str) -> str:
    """``text`` in its canonical form, "" if it is no valid expression of known identifiers."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text.strip()))
    except (InvalidLicenseExpression, ValueError):
        return ""
