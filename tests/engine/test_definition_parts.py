"""What changes a step's digest, and what does not, of functions and of classes."""

from __future__ import annotations

import pytest

from tests.engine.cells import digest

SAME = {
    "comment": ("def work(x): return x", "def work(x): return x  # a comment"),
    "docstring": ("def work(x): return x", "def work(x):\n    'What it does.'\n    return x"),
    "docstring inside": (
        "def work(x):\n class A:\n  'One.'\n  n = 1\n return A.n",
        "def work(x):\n class A:\n  n = 1\n return A.n",
    ),
    "place": ("def work(x):\n  y = x\n  return y", "\n\n\ndef work(x):\n\n  y = x\n\n  return y"),
    "unused global": ("FACTOR = 1\ndef work(x): return x", "FACTOR = 2\ndef work(x): return x"),
    "attribute": (
        "def rate(): return 1\ndef work(x): return x.rate",
        "def rate(): return 2\ndef work(x): return x.rate",
    ),
    "name": ("def work(x): return x", "def other(x): return x\nwork = other"),
    "a hint that is no code": (
        "def work(x: 'a number'): return x",
        "number = 1\ndef work(x: 'a number'): return x",
    ),
    "a global that it assigns": (
        "def help(): return n\ndef work(x):\n global n\n n = x\n return help()",
        "n = 1\ndef help(): return n\ndef work(x):\n global n\n n = x\n return help()",
    ),
}


@pytest.mark.parametrize(("before", "after"), SAME.values(), ids=SAME)
def test_what_a_step_does_not_do_does_not_count(before: str, after: str) -> None:
    assert digest(before) == digest(after)


MODEL = "class M(BaseModel):\n  {}\ndef work(x): return M"
DATA = "@dataclasses.dataclass\nclass D:\n  {}\ndef work(x): return D"
PYDANTIC_DATA = f"@pydantic_dataclass\n{DATA.partition(chr(10))[2]}"
BY_TYPE = """
class K:
  @functools.singledispatchmethod
  def m(self, x): return 1
  @m.register
  def _(self, {}): return 2
"""
ENUM = "class E(enum.Enum):\n  {}\ndef work(x): return E"
PLAIN = "{}\ndef work(x): return K().m()"
FROZEN_DATA = """
@dataclasses.dataclass(frozen=True)
class D:
  n: int
N = D({})
def work(x): return N
"""
FROZEN_MODEL = """
class M(BaseModel, frozen=True):
  n: int
N = M(n={})
def work(x): return N
"""
DIFFERENT = {
    "code": ("def work(x): return x + 1", "def work(x): return x + 2"),
    "a constant's type": ("def work(x): return 1", "def work(x): return True"),
    "another constant's type": ("def work(x): return 1", "def work(x): return 1.0"),
    "the sign of zero": ("def work(x): return 0.0", "def work(x): return -0.0"),
    "the names of keywords": ("def work(x): return x(a=1)", "def work(x): return x(b=1)"),
    "a global": ("N = 1\ndef work(x): return N", "N = 2\ndef work(x): return N"),
    "a global's type": ("N = 1\ndef work(x): return N", "N = True\ndef work(x): return N"),
    "a tuple": ("N = (1, 2)\ndef work(x): return N", "N = (1, 3)\ndef work(x): return N"),
    "a frozenset": (
        "N = frozenset({1})\ndef work(x): return N",
        "N = frozenset({2})\ndef work(x): return N",
    ),
    "a default": ("def work(x, n=1): return n", "def work(x, n=2): return n"),
    "a keyword's default": ("def work(x, *, n=1): return n", "def work(x, *, n=2): return n"),
    "a closure": (
        "def make(n):\n def work(x): return n\n return work\nwork = make(1)",
        "def make(n):\n def work(x): return n\n return work\nwork = make(2)",
    ),
    "a function in a closure": (
        "def make(n):\n def work(x): return n()\n return work\nwork = make(lambda: 1)",
        "def make(n):\n def work(x): return n()\n return work\nwork = make(lambda: 2)",
    ),
    "a helper": (
        "def help(): return 1\ndef work(x): return help()",
        "def help(): return 2\ndef work(x): return help()",
    ),
    "a helper's global": (
        "N = 1\ndef help(): return N\ndef work(x): return help()",
        "N = 2\ndef help(): return N\ndef work(x): return help()",
    ),
    "a global of a nested function": (
        "N = 1\ndef work(x): return [(lambda: N)() for _ in x]",
        "N = 2\ndef work(x): return [(lambda: N)() for _ in x]",
    ),
    "a global of a nested class": (
        "N = 1\ndef work(x):\n class A:\n  n = N\n return A",
        "N = 2\ndef work(x):\n class A:\n  n = N\n return A",
    ),
    "async": ("def work(x): return x", "async def work(x): return x"),
    "an annotation": ("def work(x: int): return x", "def work(x: float): return x"),
    "a method": (
        PLAIN.format("class K:\n  def m(self): return 1"),
        PLAIN.format("class K:\n  def m(self): return 2"),
    ),
    "a base's method": (
        PLAIN.format("class B:\n  def m(self): return 1\nclass K(B): pass"),
        PLAIN.format("class B:\n  def m(self): return 2\nclass K(B): pass"),
    ),
    "a property": (
        PLAIN.format("class K:\n  @property\n  def m(self): return 1"),
        PLAIN.format("class K:\n  @property\n  def m(self): return 2"),
    ),
    "a cached property": (
        PLAIN.format("class K:\n  @functools.cached_property\n  def m(self): return 1"),
        PLAIN.format("class K:\n  @functools.cached_property\n  def m(self): return 2"),
    ),
    "a class method": (
        PLAIN.format("class K:\n  @classmethod\n  def m(cls): return 1"),
        PLAIN.format("class K:\n  @classmethod\n  def m(cls): return 2"),
    ),
    "a wrapped helper": (
        "@functools.cache\ndef help(): return 1\ndef work(x): return help()",
        "@functools.cache\ndef help(): return 2\ndef work(x): return help()",
    ),
    "a frozen dataclass": (FROZEN_DATA.format(1), FROZEN_DATA.format(2)),
    "a frozen model": (FROZEN_MODEL.format(1), FROZEN_MODEL.format(2)),
    "a member of an enum": (
        ENUM.format("RED = 1\n  BLUE = 2").replace("return E", "return M") + "\nM = E.RED",
        ENUM.format("RED = 1\n  BLUE = 2").replace("return E", "return M") + "\nM = E.BLUE",
    ),
    "a model validator's code": (
        MODEL.format("@model_validator(mode='before')\n  def v(cls, n): return n"),
        MODEL.format("@model_validator(mode='before')\n  def v(cls, n): return {}"),
    ),
    "a class's constant": (
        PLAIN.format("class K:\n  N = 1\n  def m(self): return self.N"),
        PLAIN.format("class K:\n  N = 2\n  def m(self): return self.N"),
    ),
    "a field's type": (MODEL.format("n: int"), MODEL.format("n: str")),
    "a field's default": (MODEL.format("n: int = 1"), MODEL.format("n: int = 2")),
    "a field that became optional": (MODEL.format("n: int"), MODEL.format("n: int = None")),
    "a field's rule": (
        MODEL.format("n: int = Field(gt=1)"),
        MODEL.format("n: Annotated[int, Field(gt=2)]"),
    ),
    "what a field tells a model": (
        MODEL.format("n: int = Field(description='one')"),
        MODEL.format("n: int = Field(description='two')"),
    ),
    "a private field": (MODEL.format("_n: int = 1"), MODEL.format("_n: int = 2")),
    "a validator's code": (
        MODEL.format("n: int\n  @field_validator('n')\n  def v(cls, n): return n"),
        MODEL.format("n: int\n  @field_validator('n')\n  def v(cls, n): return n + 1"),
    ),
    "a validator's mode": (
        MODEL.format("n: int\n  @field_validator('n', mode='after')\n  def v(cls, n): return n"),
        MODEL.format("n: int\n  @field_validator('n', mode='before')\n  def v(cls, n): return n"),
    ),
    "a model's settings": (
        MODEL.format("model_config = {'extra': 'allow'}"),
        MODEL.format("model_config = {'extra': 'forbid'}"),
    ),
    "a dataclass's default": (DATA.format("n: int = 1"), DATA.format("n: int = 2")),
    "a dataclass's factory": (
        DATA.format("n: list = dataclasses.field(default_factory=lambda: [1])"),
        DATA.format("n: list = dataclasses.field(default_factory=lambda: [2])"),
    ),
    "a pydantic dataclass's rule": (
        PYDANTIC_DATA.format("n: int = Field(1, gt=1)"),
        PYDANTIC_DATA.format("n: int = Field(1, gt=2)"),
    ),
    "a serializer's moment": (
        MODEL.format("n: int\n  @field_serializer('n')\n  def s(self, n): return n"),
        MODEL.format(
            "n: int\n  @field_serializer('n', when_used='json')\n  def s(self, n): return n"
        ),
    ),
    "a metaclass": (
        PLAIN.format("class Meta(type):\n  n = 1\nclass K(metaclass=Meta): pass"),
        PLAIN.format("class Meta(type):\n  n = 2\nclass K(metaclass=Meta): pass"),
    ),
    "a partial method": (
        PLAIN.format("class K:\n  m = functools.partialmethod(print, 1)"),
        PLAIN.format("class K:\n  m = functools.partialmethod(print, 2)"),
    ),
    "a method for a type": (
        PLAIN.format(BY_TYPE.format("x: int")),
        PLAIN.format(BY_TYPE.format("x: str")),
    ),
    "a method of a library": (
        PLAIN.format("class K:\n  m = str.upper"),
        PLAIN.format("class K:\n  m = str.lower"),
    ),
    "what patterns match": (
        PLAIN.format("class K:\n  __match_args__ = ('a',)"),
        PLAIN.format("class K:\n  __match_args__ = ('b',)"),
    ),
    "a class that a text names": (
        "class K:\n  n = 1\ndef work(x: list[K]): return x",
        "class K:\n  n = 2\ndef work(x: list[K]): return x",
    ),
    "an enum's value": (ENUM.format("RED = 1"), ENUM.format("RED = 2")),
    "an enum's method": (
        ENUM.format("RED = 1\n  def m(self): return 1"),
        ENUM.format("RED = 1\n  def m(self): return 2"),
    ),
}


@pytest.mark.parametrize(("before", "after"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_a_step_does_counts(before: str, after: str) -> None:
    assert digest(before) == digest(before)
    assert digest(before) != digest(after)
