"""Numbers as lists write them: decimal, as letters, Roman."""

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
          (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_MOST_LETTERS = 9  # of a number such as "aaa", which is 53


def letters(count: int) -> str:
    """Return a number as "a" to "z", "aa", "bb" and so on; decimal if it is not positive."""
    if count < 1:
        return str(count)
    return chr(ord("a") + (count - 1) % 26) * min((count - 1) // 26 + 1, _MOST_LETTERS)


def roman(count: int) -> str:
    """Return a number in small Roman letters; decimal below 1 and above 3,999."""
    if not 0 < count < 4000:
        return str(count)
    text = ""
    for value, sign in _ROMAN:
        times, count = divmod(count, value)
        text += sign * times
    return text
