"""Overrides that Hydra's parser refuses: one sentence says what is wrong and what to write, in no parser's words."""

import re
import shlex

import pytest

from autoloss.app.composition import composed, jobs
from autoloss.app.overrides import parse
from autoloss.core.errors import ConfigError, UnknownNameError

PARSERS_WORDS = re.compile(r"viable|extraneous|mismatched|EOF|EQUAL|Lexer|expecting|hydra\.cc|grammar|Error\b")
BRACKET, QUOTE = "Every bracket in a value must be opened and closed", "Every quote in a value must be closed"
QUOTED = "A value with brackets, spaces or special characters must be in quotes"
KEY = "The key of an override must be names with dots between them, without spaces"
MALFORMED = {
    "seed": "An override must be written key=value, but it is 'seed'. Write seed=VALUE.",
    "++": "An override must be written key=value, but it is '++'. Write key=value.",
    "~": "An override must be written key=value, but it is '~'. Write key=value.",
    "=3": f"{KEY}, but in '=3' it is ''. Write key=value or key.inner=value.",
    "seed =3": f"{KEY}, but in 'seed =3' it is 'seed '.",
    "--foo=3": f"{KEY}, but in '--foo=3' it is '--foo'.",
    "a..b=3": f"{KEY}, but in 'a..b=3' it is 'a..b'.",
    "losses.left=focal(gamma=2": f"{BRACKET}, but in 'losses.left=focal(gamma=2' the bracket '(' is not closed.",
    "weighting.wrap=[{ema:{}]": f"{BRACKET}, but in 'weighting.wrap=[{{ema:{{}}]' the bracket ']' closes one of",
    "weighting.wrap=[ema": f"{BRACKET}, but in 'weighting.wrap=[ema' the bracket '[' is not closed.",
    "name=a)": f"{BRACKET}, but in 'name=a)' the bracket ')' is not opened.",
    "name=${a": f"{BRACKET}, but in 'name=${{a' the bracket '{{' is not closed.",
    "name=don't": f"""{QUOTE}, but in "name=don't" a quote ' is not.""",
    'name="abc': f"""{QUOTE}, but in 'name="abc' a quote " is not.""",
    "seed=1,,2": "Every comma in a value must be between two values, but in 'seed=1,,2' one comma is not.",
    "name=(a)": f"{QUOTED}, but in 'name=(a)' the value is not.",
    "name=/a (b)": f"{QUOTED}, but in 'name=/a (b)' the value is not.",
    "name=a (b)": "No function is called 'a'. There are: constant, cosine,",
    "name=hello!": f"{QUOTED}, but in 'name=hello!' the value is not.",
    "name=a=b": f"{QUOTED}, but in 'name=a=b' the value is not.",
    "name=ä": f"{QUOTED}, but in 'name=ä' the value is not.",
    "seed=range()": "A function in a value must have the arguments that it takes, but range() in 'seed=range()' does not: "
    "missing a required argument: 'start'. Write for example seed=range(0,10,2).",
}


@pytest.mark.parametrize("override", MALFORMED)
def test_a_malformed_override_is_explained_in_our_words(override: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError)) as found:
        composed("train", ["problem=two_digits", override])
    said = str(found.value)
    assert said.startswith(MALFORMED[override])
    assert not PARSERS_WORDS.search(said)


@pytest.mark.parametrize(
    "override", [one for one, said in MALFORMED.items() if said.startswith((QUOTED, QUOTE, BRACKET))]
)
def test_what_the_error_says_to_write_is_read_as_a_text(override: str) -> None:
    with pytest.raises(ConfigError) as found:
        composed("train", ["problem=two_digits", override])
    (written,) = shlex.split(str(found.value).partition("in a shell as ")[2].removesuffix("."))
    key, _, value = override.partition("=")
    (parsed,) = parse([written])
    assert parsed.get_key_element() == key
    assert parsed.value() == value.strip("'\"") or parsed.value().text == value.strip("'\"")


def test_parentheses_in_a_text_are_taken_for_a_function_and_the_error_says_so() -> None:
    with pytest.raises(UnknownNameError, match=re.escape("warmup. Put a text with () in quotes.")):
        composed("train", ["problem=two_digits", "name=a (b)"])


def test_a_sweep_is_explained_in_the_same_words() -> None:
    with pytest.raises(ConfigError, match=re.escape(MALFORMED["seed=1,,2"])):
        jobs(["seed=1,,2"])


def test_the_command_line_says_it_and_ends_with_2(mistaken) -> None:
    code, _, error = mistaken("train problem=two_digits 'name=/a (b)'")
    assert code == 2
    assert f"autoloss: {MALFORMED['name=/a (b)']}" in error
    assert not PARSERS_WORDS.search(error)


def test_the_advice_on_a_list_of_texts_can_be_typed(autoloss, tmp_path):
    (tmp_path / "a.csv").write_text("Preis €,x\n" + "".join(f"{i},{i % 7}\n" for i in range(40)))
    done = autoloss("train", "problem=tabular", "problem.csv=a.csv", "problem.targets=[Preis €,x]")
    assert done.returncode == 2
    assert 'problem.targets=["Preis €","x"]' in done.stderr
