"""Reads SQL character by character: quotations, brackets, and what could reach beyond the text's own end."""

LONGEST = 50_000
QUOTES = {"postgres": "'\"", "sqlite": "'\"`", "spark": "'\"`", "mysql": "'\"`", "singlestore": "'\"`"}
BACKSLASH_ESCAPES = frozenset({"postgres", "spark", "mysql", "singlestore"})
HASH_COMMENTS = frozenset({"mysql", "singlestore"})
BRACKETS = {"(": ")", "[": "]"}

SEQUENCES = {"--": "a comment is not allowed", "/*": "a comment is not allowed", "*/": "a comment is not allowed"}
CHARACTERS = {
    ";": "a semicolon is not allowed: there is exactly one statement",
    "$": "a dollar sign outside quotation marks is not allowed",
    "?": "a question mark outside quotation marks is not allowed: the driver takes it for a parameter",
    "{": "a brace outside quotation marks is not allowed: the driver takes it for an escape",
    "}": "a brace outside quotation marks is not allowed: the driver takes it for an escape",
    "`": "a backtick is not allowed",
    "\\": "a backslash outside quotation marks is not allowed",
}


class SqlRefusedError(ValueError):
    """The text is not what is allowed here; the message says what is."""


def check_text(text: str, dialect: str, allowed: str) -> None:
    """Return if the text closes what it opens and holds nothing that could swallow what follows it.

    Raises SqlRefusedError for open quotations or brackets, comments, semicolons, parameters and control characters.
    """
    problem = _problem(text, dialect)
    if problem:
        raise SqlRefusedError(f"{problem}; {allowed}")


def _problem(text: str, dialect: str) -> str:
    if not text.strip():
        return "this is empty"
    if len(text) > LONGEST:
        return f"this is longer than {LONGEST} characters"
    if any(not character.isprintable() and character not in "\t\n\r" for character in text):
        return "a control character is not allowed"
    return _walk(text, dialect)


def _walk(text: str, dialect: str) -> str:
    closing: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in QUOTES[dialect] or (character == "[" and dialect == "sqlite"):
            problem, at = _skip_quotation(text, at, dialect)
        else:
            problem = _judge(text, at, closing)
            if character == "#" and dialect in HASH_COMMENTS:
                problem = "a comment is not allowed"
            at += 1
        if problem:
            return problem
    return "a parenthesis or bracket is left open" if closing else ""


def _judge(text: str, at: int, closing: list[str]) -> str:
    character = text[at]
    problem = SEQUENCES.get(text[at : at + 2]) or CHARACTERS.get(character, "")
    if character in BRACKETS:
        closing.append(BRACKETS[character])
    elif character in BRACKETS.values() and (not closing or closing.pop() != character):
        return "a parenthesis or bracket is closed that was not opened"
    return problem


def _skip_quotation(text: str, at: int, dialect: str) -> tuple[str, int]:
    """Return a problem, or the position behind the quotation that starts at ``at``."""
    if text[max(0, at - 2) : at].lower() == "u&":
        return "the U& form is not allowed", at
    end = "]" if text[at] == "[" else text[at]
    position = at + 1
    while (position := text.find(end, position)) >= 0:
        if text[position - 1] == "\\" and dialect in BACKSLASH_ESCAPES:
            return "a backslash right before a quotation mark is not allowed", at
        if end == "]" or text[position + 1 : position + 2] != end:
            return "", position + 1
        position += 2
    return "a quotation is left open", at
