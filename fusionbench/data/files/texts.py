"""Text files as UTF-8, with the line where a file in another encoding shows it."""

from __future__ import annotations

import re

from fusionbench.errors import DataError

_OTHERS = ("gb18030", "big5")
_MARKS = (b"\xff\xfe", b"\xfe\xff")


def decode_utf8(content: bytes, what: str) -> str:
    """Return UTF-8 bytes as text, without a byte order mark.

    Args:
        content: The file.
        what: How a message calls it.

    Raises:
        DataError: It is in another encoding; the message names the first such line and what it may be.
    """
    try:
        text, bad = content.decode("utf-8-sig"), content.find(b"\0")
    except UnicodeDecodeError as error:
        text, bad = "", error.start
    if bad < 0:
        return text
    line = content.count(b"\n", 0, bad) + 1
    found = _likely(content)
    convert = f"for example with 'iconv -f {found} -t UTF-8'" if found else "or save it again as UTF-8"
    raise DataError(
        f"{what}, line {line}: not UTF-8 text{f', it may be {found}' if found else ''}; convert the file, {convert}"
    )


def _likely(content: bytes) -> str:
    """Name an encoding in which the content would be text, or an empty string."""
    if content.startswith(_MARKS) or b"\0" in content:
        return "UTF-16"
    # letters of Western languages stand alone among those of ASCII, also where the pair would be a Chinese sign
    if re.search(rb"[A-Za-z][\xc0-\xff]|[\xc0-\xff][A-Za-z]", content) and not re.search(rb"[\x80-\xff]{2}", content):
        return "WINDOWS-1252"
    for name in _OTHERS:
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        if any("\u4e00" <= letter <= "\u9fff" for letter in text):
            return name.upper()
    return ""
