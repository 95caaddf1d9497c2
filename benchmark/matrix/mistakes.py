"""What pydantic says about a mistake in a table, as one line in the words of TOML."""

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from benchmark.errors import UserError, nearest, unknown

# The members of a union by the type of a value. pydantic lists the tag of the member between the
# keys of an error's location
TAGS: dict[type, str] = {int: "<int>", str: "<str>", list: "<list>", dict: "<dict>"}


def one_line(model: type[BaseModel], error: ValidationError, where: str) -> UserError:
    """A mistake in the options of a model as a UserError of one line, the deepest of them; `where`
    names the table."""
    mistake = max(error.errors(), key=lambda mistake: len(mistake["loc"]))
    path = [str(part) for part in mistake["loc"] if part not in TAGS.values()]
    name = ".".join(path)
    if mistake["type"] == "extra_forbidden":
        return unknown(f"key in {where}", name, _valid_keys(model, path[:-1]))
    message = f"{where}: {name}: " if name else f"{where}: "
    return UserError(message + reason(mistake))


def reason(mistake: ErrorDetails) -> str:
    """What is wrong with which value, in the words of TOML."""
    message = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] in ("missing", "value_error"):
        return message
    if mistake["type"] in ("dict_type", "model_type"):
        message = "Input should be a valid table"
    if mistake["type"] == "tuple_type":
        message = "Input should be a valid list"
    text = f"{message}, not {mistake['input']!r}"
    if mistake["type"] == "literal_error":
        text += nearest(mistake["input"], re.findall("'(.+?)'", mistake["ctx"]["expected"]))
    return text


def _valid_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the table at a path in a model, each with the path."""
    for name in path:
        if not name.isdecimal():
            inner = _table_in(model.model_fields[name].annotation)
            assert inner is not None, f"{name} is no table"
            model = inner
    return [".".join([*path, key]) for key in model.model_fields]


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The kind of table that a type is made of: of a list, of a union, or the type itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _table_in(part)
        if found is not None:
            return found
    return None
