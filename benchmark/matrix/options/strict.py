"""What all tables of a matrix file have in common."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field

from benchmark.matrix.mistakes import TAGS

Positive = Annotated[int, Field(gt=0)]
Steps = Annotated[int, Field(gt=0, le=10**12)]
Share = Annotated[float, Field(ge=0, lt=1)]


def by_type(expected: str) -> Discriminator:
    """Chooses the member of a union by the type of a value: True is no int. `expected` is what the
    error for a value of another type says."""

    def tag(value: object) -> str | None:
        return TAGS.get(type(value))

    return Discriminator(
        tag, custom_error_type="type", custom_error_message=f"Input should be {expected}"
    )


class Strict(BaseModel):
    """A table of a matrix file: immutable, with neither unknown keys nor other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def plain(self) -> dict[str, Any]:
        """The options as JSON values: what a cell's key and the stored files are made of."""
        return self.model_dump(mode="json")

    def replaced(self, **changes: Any) -> Self:
        """These options with some of them changed, validated."""
        return self.model_validate(self.plain() | changes)

    def without_defaults(self, options: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        """Serialised options, without those of `names` that have their default: the key of a cell
        is made of the others."""
        fields = type(self).model_fields
        at_default = {name for name in names if getattr(self, name) == fields[name].default}
        return {name: value for name, value in options.items() if name not in at_default}
