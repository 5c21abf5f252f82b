"""Classes of values, as users write them."""

from __future__ import annotations

import dataclasses
import enum
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

T = TypeVar("T")


class Color(enum.Enum):
    RED = (1, 2)
    CRIMSON = (1, 2)  # noqa: PIE796  # another name of it
    BLUE = "b"


class Size(enum.StrEnum):
    SMALL = "s"


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: object = None


class Item(BaseModel):
    name: str
    price: float = 0.5
    tags: list[str] = []
    shout: str = Field("x", alias="SHOUT")
    _seen: int = PrivateAttr(7)

    @field_validator("name")
    @classmethod
    def lower(cls, name: str) -> str:
        return name.lower()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    inner: Item | None = None


class Box(BaseModel, Generic[T]):
    content: T


class Names(RootModel[list[str]]):
    pass


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)
    c: int = dataclasses.field(init=False, default=5)


@dataclasses.dataclass
class Counted:
    made = 0
    late: int = dataclasses.field(init=False)
    a: int = 1

    def __post_init__(self) -> None:
        type(self).made += 1


@pydantic_dataclass
class Checked:
    a: int


class MyList(list[int]):
    pass


IntBox = Box[int]
