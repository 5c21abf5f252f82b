"""Reading a command line."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from flujo_nb.command_line import Option, Parsed, parse, tokens_of

OPTIONS = (
    Option(("-i", "--input"), "the input", "EXPR"),
    Option(("--from",), "where from", "FRAME"),
    Option(("--on-head",), "a flag"),
)
USAGE = "%flujo run NAME [-i EXPR]"


def read(line: str) -> Parsed:
    return parse(line, OPTIONS, USAGE)


def refused(line: str) -> str:
    """The message with which a line is refused: one line."""
    with pytest.raises(UsageError) as caught:
        read(line)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "expression",
    [
        "3",
        "-1",
        "'a b'",
        '"a b"',
        "'it\\'s so'",
        "[1, 2]",
        "rows[0]",
        "rows[ 0 ]",
        "{'a': [1, (2, 3)]}",
        "f(x, y=' ) ')",
        "')'",
        "'['",
        "a.b().c",
        "x>>y",
        "x==1",
        "'''a b'''",
        "''",
        "lambda:0",
        "--x",
        "$HOME",
        "{__import__('os')}",
    ],
)
@pytest.mark.parametrize("option", ["-i ", "--input ", "--input="])
def test_an_expression_goes_up_to_the_first_blank_outside_quotes_and_brackets(
    expression: str, option: str
) -> None:
    found = read(f"words {option}{expression} --from f1")
    assert found.words == ["words"]
    assert found.values == {"--input": expression, "--from": "f1"}


def test_words_flags_and_values_in_any_order() -> None:
    found = read("--on-head a --from f1 >> b -i 1")
    assert found.words == ["a", ">>", "b"]
    assert found.flags == {"--on-head"}
    assert found.values == {"--from": "f1", "--input": "1"}


def test_an_empty_line() -> None:
    assert read("  ") == Parsed()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a --form f1", "there is no option --form; did you mean --from?"),
        ("a --on-hed", "there is no option --on-hed; did you mean --on-head?"),
        ("a --zzz", f"there is no option --zzz; usage: {USAGE}"),
        ("a -i", f"-i needs EXPR; usage: {USAGE}"),
        ("a --from", f"--from needs FRAME; usage: {USAGE}"),
        ("a -i 1 -i 2", f"-i is given twice; usage: {USAGE}"),
        ("a -i 1 --input 2", f"--input is given twice; usage: {USAGE}"),
        ("a --on-head --on-head", f"--on-head is given twice; usage: {USAGE}"),
        ("a -i [1,", "] is missing at the end of: a -i [1,"),
        ("a -i (1, [2)", "] is missing at the end of: a -i (1, [2)"),
        ("a -i 'x", "' is missing at the end of: a -i 'x"),
        ("a -i 'x\\'", "' is missing at the end of: a -i 'x\\'"),
    ],
)
def test_misuse_is_refused_in_one_line(line: str, said: str) -> None:
    assert refused(line) == said


def test_an_option_is_not_taken_for_the_value_of_another() -> None:
    assert "-i needs EXPR" in refused("a -i --from f1")
    assert "--from needs FRAME" in refused("a --from -i 1")


def test_a_flag_takes_no_value() -> None:
    assert "--on-head" in refused("a --on-head=no")


def test_an_option_without_its_value_after_the_equals_sign() -> None:
    assert "--from needs FRAME" in refused("a --from=")


def test_quotes_stay_in_their_tokens() -> None:
    assert tokens_of("a 'b c' d\t e") == ["a", "'b c'", "d", "e"]
