"""What many shapes share: the strict base, errors, pages of lists, amounts of money."""

from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, WithJsonSchema

Item = TypeVar("Item")

USD_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,9})?$"},
        {"type": "number", "minimum": 0, "maximum": 9_000_000},
    ],
    "examples": ["2.50"],
}
# Strict: true is no amount, although Python would count it as one.
Usd = Annotated[StrictStr | StrictInt | StrictFloat, WithJsonSchema(USD_SCHEMA)]
"""An amount in USD as a number or a decimal string."""

Nusd = Annotated[int, Field(description="Nano-dollars: 10⁹ are one USD.", examples=[21_800])]
UsdText = Annotated[str, Field(description="The same in USD.", examples=["0.0000218"])]
Moment = Annotated[int, Field(description="Unix seconds.", examples=[1_789_000_000])]
ExactMoment = Annotated[float, Field(description="Unix seconds.", examples=[1_789_000_000.125])]


class Shape(BaseModel):
    """An object with exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class ErrorShape(Shape):
    """What is wrong, in OpenAI's words."""

    message: str
    type: Literal[
        "invalid_request_error", "requests", "tokens", "insufficient_quota", "server_error"
    ]
    param: str | None = Field(description="The field it is about.", examples=["model"])
    code: str | None = Field(description="Stable, for programs.", examples=["model_not_found"])


class Failure(BaseModel):
    """Every error of this API; some tell more beside `error` (`rejected`, `promptmill`)."""

    error: ErrorShape


class Page(Shape, Generic[Item]):
    """A page of a list; `after=<last_id>` asks for the next one."""

    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class RejectedLineShape(Shape):
    """A line of a file that cannot run, and why."""

    line: int = Field(examples=[4])
    custom_id: str | None
    field: str | None = Field(examples=["body.temperature"])
    code: str = Field(examples=["invalid_value"])
    message: str
