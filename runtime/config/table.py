"""What every table of the configuration shares: frozen, strict, unknown keys refused; and the kinds of values in use.

Strict means that nothing is converted: "8" is no integer, 8.0 is no integer, true is no number. An integer may stand
where a number belongs (`period_s = 300`). Lists of the file become tuples, so that a configuration cannot change.
The docstring of a key is its comment in every TOML file that this program writes.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

T = TypeVar("T")


class Table(BaseModel):
    """One table of the file. Made only from what the file may say; `model_copy` is the way to a changed one."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def no_other_number(value: Any) -> Any:
    """Refuses 4.0 and true where an integer of a list of choices belongs: a Literal alone would take them as equal."""
    if type(value) is not int:
        raise PydanticCustomError("integer_choice", "not an integer")
    return value


def no_repeats(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuses a list that names something twice."""
    repeated = [value for position, value in enumerate(values) if value in values[:position]]
    if repeated:
        raise ValueError(f'names "{repeated[0]}" twice')
    return values


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
PositiveNumber = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ProperFraction = Annotated[float, Field(ge=0, lt=1)]
Filled = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Filled, ...], Field(strict=False), AfterValidator(no_repeats)]
IntegerChoice = BeforeValidator(no_other_number)
"""Beside a Literal of integers: `Annotated[Literal[0, 4, 8], IntegerChoice]`."""
