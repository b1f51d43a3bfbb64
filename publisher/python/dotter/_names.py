"""What can be the name of a series or an application: the same names as everywhere in Dotter."""

from __future__ import annotations

import os
import sys

NAME_BYTES_MAX = 4096
APPLICATION_BYTES_MAX = 64


def is_control(character: str) -> bool:
    """Whether it has no place in a name."""
    return character < " " or "\x7f" <= character <= "\x9f"


def series_name(text: str) -> str:
    """The canonical name: tags sorted, the last of a repeated one wins.

    Raises ValueError where the text is no name.
    """

    def wrong(what: str) -> ValueError:
        return ValueError(f"cannot publish series {text[:80]!r}: {what}")

    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise wrong(f"it is no Unicode text from character {error.start} on") from None
    if length > NAME_BYTES_MAX:
        raise wrong(f"it has {length} bytes, expected at most {NAME_BYTES_MAX}")
    if any(map(is_control, text)):
        raise wrong("it has a control character")
    path, *parts = text.split(";")
    if not path:
        raise wrong("it is empty, or nothing stands before the first tag")
    tags = {}
    for part in parts:
        tag, equals, value = part.partition("=")
        if not (tag and equals and value):
            raise wrong(f"tag {part[:64]!r} is not of the form tag=value")
        tags[tag] = value
    return path + "".join(f";{tag}={tags[tag]}" for tag in sorted(tags))


def with_instance(name: str, instance: str) -> str:
    """A name with one more tag in front of its own, of which the last of a kind wins."""
    path, semicolon, tags = name.partition(";")
    return f"{path};instance={instance}{semicolon}{tags}"


def instance_name(text: str) -> str:
    """The same text.

    Raises ValueError where it can be no value of the tag `instance`.
    """
    if ";" in text:
        raise ValueError(f"the instance {text[:80]!r} has a semicolon")
    series_name(with_instance("a", text))
    return text


def application_name(text: str) -> str:
    """The same text.

    Raises ValueError where it cannot name an application.
    """
    length = len(text.encode())
    if (
        not 1 <= length <= APPLICATION_BYTES_MAX
        or text[0] == "."
        or "/" in text
        or any(map(is_control, text))
    ):
        raise ValueError(
            f"application name {text[:80]!r} is not 1 to 64 bytes without '/', control characters "
            "or a dot in front"
        )
    return text


def program_name() -> str:
    """The program's file name, as far as it can name an application."""
    name = os.path.basename(sys.argv[0] if getattr(sys, "argv", None) else "") or "python"
    name = name[:-3] if name.endswith(".py") else name
    name = "".join(c for c in name.lstrip(".") if not is_control(c) and c.isprintable())[:16]
    return name or "python"
