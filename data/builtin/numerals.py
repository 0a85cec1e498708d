"""The numbers from 0 to 99 in English words and in Chinese numerals."""

from __future__ import annotations

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_DIGITS = "零一二三四五六七八九"


def number_word(number: int) -> str:
    """`number` (0 to 99) in English words."""
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def zh_number(number: int) -> str:
    """`number` (0 to 99) in Chinese numerals."""
    tens, ones = divmod(number, 10)
    if not tens:
        return _DIGITS[ones]
    return (_DIGITS[tens] if tens > 1 else "") + "十" + (_DIGITS[ones] if ones else "")


if __name__ == "__main__":
    print(", ".join(map(number_word, range(0, 99, 11))), "".join(map(zh_number, range(0, 99, 11))))
    assert [number_word(n) for n in (7, 20, 42)] == ["seven", "twenty", "forty-two"]
    assert [zh_number(n) for n in (7, 10, 12, 20, 42)] == ["七", "十", "十二", "二十", "四十二"]
    print("=== 自测通过 ===")
