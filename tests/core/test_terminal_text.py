"""Control characters never reach a terminal, nor standard error; files and pipes get them."""

from __future__ import annotations

import io

import pytest

from ilk.core.errors import IlkError, InputError, UnknownName
from ilk.core.terminal_text import (
    FilteredStream,
    escape_controls,
    escape_line,
    filter_streams,
    get_unfiltered,
)

UNSAFE = "\x00\x07\x08\r\x1b\x7f\x80\x9b\u061c\u200e\u202e\u2066\u2028\ud800\udc80"
SAFE = "café 猫 👩\u200d🔬 \xa0 ~ ≤"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("c", UNSAFE)
def test_a_control_character_is_written_as_an_escape(c):
    assert escape_controls(f"a{c}b") == f"a{ascii(c)[1:-1]}b"
    assert str(InputError(f"no {c}")) == f"no {ascii(c)[1:-1]}"


def test_text_is_left_alone():
    assert escape_controls(SAFE + "\n\t") == SAFE + "\n\t"
    assert escape_line("a\nilk: ok\t") == "a\\nilk: ok\\t"


def test_an_error_is_one_printable_line():
    assert str(IlkError("\x1b[31m\nx")) == "\\x1b[31m\\nx"
    assert "\x1b" not in str(UnknownName("class", "\x1b", ["\x1b[0m", "cat"]))


def test_streams_are_filtered_where_people_look():
    out, err = Terminal(), io.StringIO()
    shown, errors = filter_streams(out, err)
    for stream in (shown, errors):
        stream.write("\x1b[2J\n")
        stream.writelines(["\r", "a\n"])
        stream.flush()
    assert out.getvalue() == err.getvalue() == "\\x1b[2J\n\\ra\n"
    assert shown.isatty()
    assert not errors.isatty()
    assert get_unfiltered(shown) is out
    assert get_unfiltered(err) is err
    assert not hasattr(shown, "buffer")
    assert not hasattr(shown, "reconfigure")
    pipe = io.StringIO()
    assert filter_streams(pipe, err)[0] is pipe
    assert isinstance(errors, FilteredStream)
