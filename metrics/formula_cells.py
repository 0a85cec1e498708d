"""Cells of a table that a spreadsheet would compute, written and read as text.

A `'` before such a cell marks it as text (OWASP, "CSV Injection").
"""

from __future__ import annotations

_BEGINS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_MARK = "'"


def quoted_formula(cell: str) -> str:
    """The cell as a spreadsheet shows it; a name that begins with `'` gets one more."""
    return _MARK + cell if cell.lstrip(" ").startswith((*_BEGINS, _MARK)) else cell


def unquoted_formula(cell: str) -> str:
    """The inverse of `quoted_formula`."""
    quoted = cell.startswith(_MARK) and quoted_formula(cell[1:]) == cell
    return cell[1:] if quoted else cell


if __name__ == "__main__":
    for name in ("loss", "=1+1", "'=1", "'", "@SUM(A1)", " -x"):
        print(quoted_formula(name))
        assert unquoted_formula(quoted_formula(name)) == name
    print("=== 自测通过 ===")
