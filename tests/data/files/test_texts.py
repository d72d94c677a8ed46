"""Text files as UTF-8."""

from __future__ import annotations

import pytest

from fusionbench.data.files.texts import decode_utf8
from fusionbench.errors import DataError


def test_other_encodings_are_named_where_they_can_be_told():
    assert decode_utf8("\ufeff结节".encode(), "it") == "结节"
    with pytest.raises(DataError, match=r"it, line 1: not UTF-8 text, it may be UTF-16; .* -f UTF-16"):
        decode_utf8("a\n结节".encode("utf-16"), "it")
    with pytest.raises(DataError, match="it, line 2: not UTF-8 text; convert"):
        decode_utf8(b"a\n\xff", "it")


def test_text_in_unicode_is_returned_without_its_mark():
    assert decode_utf8("Überlauf\r\n".encode(), "it") == "Überlauf\r\n"
    assert decode_utf8(b"", "it") == ""


@pytest.mark.parametrize("encoding", ["gb18030", "big5"])
def test_an_encoding_in_which_it_would_be_chinese_text_is_named_with_the_line(encoding):
    content = b"patient,label\n" + "結節".encode(encoding)
    with pytest.raises(DataError, match="the file, line 2: not UTF-8 text, it may be "):
        decode_utf8(content, "the file")


def test_a_message_holds_nothing_of_the_file():
    with pytest.raises(DataError) as refused:
        decode_utf8(b"secret of a patient\n\xff", "it")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["Größe,Geschlecht\n", "prénom,âge\n", "año\n"])
def test_western_letters_are_not_taken_for_chinese_signs(text):
    with pytest.raises(DataError, match=r"it may be WINDOWS-1252; .* -f WINDOWS-1252"):
        decode_utf8(text.replace("ß", "s").encode("cp1252"), "it")
