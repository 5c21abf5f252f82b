"""Notebooks of many shapes, each of which ends with a HEAD that can be exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TEXT = "to be or not to be"
WORDS = "%%flujo step words -i 'to be or not to be'\ndef words(text):\n    return text.split()"
COUNT = "%%flujo step count\ndef count(words):\n    return len(words)"


@dataclass(frozen=True)
class Shape:
    """The cells of a notebook that ends with a HEAD; the line began with ``data``."""

    name: str
    cells: Sequence[str]
    data: object = TEXT

    def __str__(self) -> str:
        return self.name


CONTEXT = """\
from pydantic import BaseModel, Field
class Ticket(BaseModel):
    text: str
    tags: list[str] = Field(default_factory=list)
class Desk(BaseModel):
    seen: int = 0
    limit: int
    last: Ticket | None = None"""

SHAPES = [
    Shape("steps of two cells", [WORDS, COUNT]),
    Shape(
        "helpers in other cells",
        [
            "def clean(text):\n    return strip(text).lower()",
            "def strip(text):\n    return text.strip(MARKS)\nMARKS = '.!'",
            "%%flujo step words -i ' To Be! '\ndef words(text):\n    return clean(text).split()",
        ],
        " To Be! ",
    ),
    Shape(
        "classes of cells",
        [
            "from dataclasses import dataclass\n@dataclass\nclass Word:\n    text: str\n"
            "    def length(self):\n        return measure(self.text)",
            "measure = len",
            "class Longer(Word):\n    def length(self):\n        return super().length() + 1",
            "%%flujo step lengths -i 'to be'\ndef lengths(text):\n"
            "    return [Longer(w).length() for w in text.split()]",
        ],
        "to be",
    ),
    Shape(
        "constants, computed and changed",
        [
            "STOP = ['to']\nWEIGHTS = {}\ntotal = 1",
            "STOP.append('or')\nWEIGHTS['be'] = 3\ntotal += 2",
            "for n in range(3):\n    WEIGHTS[str(n)] = n",
            "%%flujo step score -i 'to be or not'\ndef score(text):\n"
            "    return [WEIGHTS.get(w, total) for w in text.split() if w not in STOP], WEIGHTS",
        ],
        "to be or not",
    ),
    Shape(
        "what was made of an older constant",
        [
            "RATE = 2",
            "def double(n):\n    return n * RATE",
            "TABLE = [double(n) for n in range(3)]",
            "RATE = 10",
            "%%flujo step rates -i 1\ndef rates(n):\n    return [double(n), TABLE]",
        ],
        1,
    ),
    Shape(
        "a registry that a decorator fills",
        [
            "HANDLERS = {}\ndef handles(word):\n    def keep(function):\n"
            "        HANDLERS[word] = function\n        return function\n    return keep",
            "@handles('to')\ndef _to(n):\n    return n + SHIFT\n@handles('be')\ndef _be(n):\n"
            "    return -n",
            "SHIFT = 5",
            "%%flujo step handled -i 'to be'\ndef handled(text):\n"
            "    return [HANDLERS[w](n) for n, w in enumerate(text.split())]",
        ],
        "to be",
    ),
    Shape(
        "decorators",
        [
            "import functools\ndef shout(mark='!'):\n    def around(function):\n"
            "        @functools.wraps(function)\n        def inner(text):\n"
            "            return function(text).upper() + mark\n        return inner\n"
            "    return around",
            "@functools.lru_cache\ndef twice(text):\n    return text * 2",
            "%%flujo step loud -i 'to'\n@shout(mark='?')\ndef loud(text: str) -> str:\n"
            "    return twice(text)",
        ],
        "to",
    ),
    Shape(
        "models and a context",
        [
            CONTEXT,
            "%flujo session --context Desk --init {'limit': 2}",
            "%%flujo step note -i {'text': 'to be or'}\ndef note(data: dict, context: Desk) -> "
            "Ticket:\n    context.seen += 1\n    context.last = Ticket(text=data['text'])\n"
            "    return Ticket(text=data['text'], tags=data['text'].split()[:context.limit])",
            "%%flujo step told\ndef told(ticket: Ticket, context: Desk) -> dict:\n"
            "    return {'seen': context.seen, 'last': context.last, 'tags': ticket.tags}",
        ],
        {"text": "to be or"},
    ),
    Shape(
        "a pipeline of registered steps",
        [
            WORDS.replace("step words -i 'to be or not to be'", "step words --no-run"),
            COUNT.replace("step count", "step count --no-run"),
            "%%flujo pipeline counted -i 'to be or not to be'\nwords >> count",
        ],
    ),
    Shape(
        "a pipeline without a name, with a cache and a map",
        [
            WORDS.replace("step words -i 'to be or not to be'", "step words --no-run"),
            "%%flujo step size --no-run\ndef size(word):\n    return len(word)",
            "%%flujo pipeline -i 'to be or not to be'\nfrom flujo_nb import Step\n"
            "# in turn\nStep.cached(words) >> Step.map_over(\n    'each', size  # one\n)",
        ],
    ),
    Shape(
        "a loop",
        [
            "%%flujo step double --no-run\ndef double(n):\n    return n * 2",
            "LIMIT = 100\ndef is_done(n, context):\n    return n > LIMIT",
            "%%flujo pipeline grown -i 3\nfrom flujo_nb import Step\n"
            "Step.loop_until('grow', double, is_done, max_loops=9)",
        ],
        3,
    ),
    Shape(
        "branches side by side",
        [
            "from flujo_nb import Step, step\n@step\ndef low(text):\n    return text.lower()",
            "@step(name='up')\ndef high(text):\n    return text.upper()",
            "both = Step.parallel('both', {'low': low, 'high': high})",
            "%flujo run both -i 'To Be'",
        ],
        "To Be",
    ),
    Shape(
        "a condition",
        [
            "%%flujo step short --no-run\ndef short(text):\n    return 'short ' + text",
            "%%flujo step long --no-run\ndef long(text):\n    return 'long ' + text",
            "def kind(text, context=None):\n    return 'long' if len(text) > 5 else 'short'",
            "%%flujo pipeline told -i 'to be or'\nfrom flujo_nb import Step\n"
            "Step.branch_on('which', kind, {'short': short, 'long': long})",
        ],
        "to be or",
    ),
    Shape(
        "an agent",
        [
            WORDS,
            "from pydantic import BaseModel\nclass Summary(BaseModel):\n    title: str\n"
            "    size: int = 3",
            "%%flujo agent summed --model test --out Summary --retries 2\n"
            'Sum up {{ data }},\n"first" of {{ steps.words }}.',
            "%%flujo step titled\ndef titled(summary: Summary) -> str:\n    return summary.title",
        ],
    ),
    Shape(
        "imports with other names",
        [
            "import json as js, os.path\nfrom collections import Counter as C, OrderedDict\n"
            "import xml.sax.saxutils as sx\nimport math, cmath",
            "%%flujo step counts -i 'to be or not to be'\ndef counts(text):\n"
            "    n = C(text.split())\n"
            "    return js.dumps({sx.escape(w): n[w] for w in sorted(n)}) + os.path.join('a', 'b')",
        ],
    ),
    Shape(
        "a function and a step that were defined again",
        [
            "def mend(text):\n    return text + '1'",
            "%%flujo step mended --no-run\ndef mended(text):\n    return mend(text) + 'a'",
            "def mend(text):\n    return text + '2'",
            "%%flujo step mended -i 'to be'\ndef mended(text):\n    return mend(text) + 'b'",
        ],
        "to be",
    ),
    Shape(
        "steps that are async",
        [
            "import asyncio\nasync def wait(value):\n    await asyncio.sleep(0)\n    return value",
            "%%flujo step slow -i 'to be'\nasync def slow(text):\n"
            "    return await wait(text) + '!'",
            "%%flujo step spelled\nasync def spelled(text):\n    for letter in text:\n"
            "        yield letter",
        ],
        "to be",
    ),
    Shape(
        "steps that a decorator made",
        [
            "from flujo_nb import step",
            "%%flujo step -i 'to be'\n@step(name='split words')\ndef words(text):\n"
            "    return text.split()",
            "%%flujo step tall\n@step\ndef upper(words):\n    return [w.upper() for w in words]",
            "%flujo run upper >> words --until upper",
        ],
        "to be",
    ),
    Shape(
        "expressions that are steps",
        [
            "from flujo_nb import Step\ndef halve(n):\n    return n // 2",
            "%%flujo step half -i 40\nStep.from_callable(\n    halve, name='halve',"
            " max_retries=1\n)",
            "%%flujo step\nStep.from_callable(lambda n: n + 1, name='next')",
            "quarter = Step.from_callable(halve, name='quarter')",
            "%flujo run quarter",
        ],
        40,
    ),
    Shape(
        "IPython's syntax beside Python",
        [
            "%config InlineBackend.figure_format = 'svg'\nimport re\n!true\n"
            "listed = !echo a b\nnames = list(listed)",
            "%%time\ndef first(text):\n    return re.match(PATTERN, text)[0]",
            "PATTERN = r'\\w+'\nre?",
            "%%flujo step begun -i 'to be'\ndef begun(text):\n    return first(text), names",
        ],
        "to be",
    ),
    Shape(
        "values that no module can make",
        [
            "async def fetch():\n    return {'be': 2, 'rows': [(1, None, 'é'), {3}]}",
            "RATES = await fetch()\nlow = min(RATES['be'], 5)",
            "%%flujo step rated -i 'be'\ndef rated(word):\n    return RATES[word] + low",
        ],
        "be",
    ),
    Shape(
        "names of a star",
        [
            "from math import *\nfrom json import *",
            "%%flujo step round -i 2.25\ndef round(number):\n    return dumps([sqrt(number), pi])",
        ],
        2.25,
    ),
    Shape(
        "annotations that are text",
        [
            "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from nowhere import Nothing",
            CONTEXT,
            "def tag(ticket: Ticket, told: Nothing = None) -> 'Ticket':\n    return ticket",
            "%%flujo step tagged -i Ticket(text='a')\ndef tagged(ticket: Ticket) -> dict:\n"
            "    return tag(ticket).model_dump()",
        ],
        {"text": "a"},
    ),
    Shape(
        "names that are no identifiers, and one of a keyword",
        [
            "%%flujo step to-words -i 'to be'\ndef words(text):\n    return text.split()",
            "%%flujo step class\ndef number(words):\n    return len(words)",
            "%%flujo step pipeline\ndef pipeline(n):\n    return n + 1",
        ],
        "to be",
    ),
    Shape(
        "a part of a pipeline",
        [WORDS, COUNT, "%flujo run words >> count --until words -i 'to'"],
        "to",
    ),
    Shape(
        "functions that were run as they are",
        [
            "def words(text):\n    return text.split()",
            f"await flujo.run(words, input={TEXT!r})",
            COUNT,
        ],
    ),
    Shape(
        "the same step twice",
        ["%%flujo step more -i 1\ndef more(n):\n    return n + 1", "%flujo run more"],
        1,
    ),
    Shape(
        "cells that were run twice",
        [
            *["BASE = [1]\nBASE.append(2)\ndef base():\n    return BASE"] * 2,
            *["TOTAL = sum(base())"] * 2,
            *["%%flujo step based -i 1\ndef based(n):\n    return [n, TOTAL, base()]"] * 2,
        ],
        1,
    ),
    Shape(
        "statements that share lines",
        [
            "a = 1; b = a + 1; del a\nwith open('f.txt', 'w') as f: _ = f.write('x')\n"
            "if b > 1: c = 'big'\nelse: c = 'small'",
            "try:\n    import nowhere as parser\nexcept ImportError:\n    parser = None",
            "x, (y, *z) = 1, (2, 3, 4); z.append(b);",
            "%%flujo step all -i 1\ndef all(n):\n    return [n, b, c, parser, x, y, z]",
        ],
        1,
    ),
    Shape(
        "scopes",
        [
            "import enum\nfrom typing import NamedTuple\n"
            "class Kind(enum.Enum):\n    LOW = 'low'\nclass Pair(NamedTuple):\n"
            "    one: int\n    kind: Kind = Kind.LOW",
            "n = 7\nfactor = (lambda k: lambda v: v * k)(n)\npairs = [Pair(n) for n in range(2)]",
            "counter = 0\ndef bump():\n    global counter\n    counter += 1\n    return counter",
            "bump()",
            "%%flujo step scoped -i 2\ndef scoped(n):\n    text = 'local'\n"
            "    def inner():\n        return [p.one for p in pairs], text\n"
            "    return inner(), factor(n), bump(), str(Kind('low'))",
        ],
        2,
    ),
    Shape(
        "a line that goes on with an input of its own",
        [
            CONTEXT,
            "%flujo session --context Desk --init Desk(limit=2)",
            "%%flujo step seen -i 1\ndef seen(n, context):\n    context.seen += n\n    return n",
            "%%flujo step total --from f0 -i 5\ndef total(n, context):\n"
            "    return n + context.seen",
        ],
        5,
    ),
    Shape(
        "steps with fallbacks, plugins and classes that take each other",
        [
            "from flujo_nb import PluginOutcome, Step, step\n@step\ndef brave(n):\n"
            "    return TABLE.rows[n]\n@step\ndef careful(n):\n    return -n",
            "class Tall:\n    async def validate(self, data):\n"
            "        return PluginOutcome(success=data['output'] < MOST)",
            "brave.add_plugin(Tall())\nbrave.fallback(careful)",
            "MOST = 5",
            "from pydantic import BaseModel, field_validator\nclass Table(BaseModel):\n"
            "    rows: list[int]\n    next: 'Row | None' = None\n"
            "    @field_validator('rows')\n    def _grown(cls, rows):\n"
            "        return [grow(n) for n in rows]\n"
            "class Row(BaseModel):\n    table: Table | None = None",
            "def grow(n):\n    return n + 1\nTABLE = Table(rows=[1, 9], next=Row())",
            "%flujo run brave -i 1",
        ],
        1,
    ),
    Shape(
        "an agent with tools, of a model that a cell made",
        [
            "from pydantic_ai.models.test import TestModel\n"
            "fake = TestModel(custom_output_text='ok')",
            "from pydantic_ai import Agent\nfrom flujo_nb import Step\n"
            "helper = Agent(TestModel(), system_prompt='Help.')",
            "@helper.tool_plain\ndef look(word: str) -> int:\n    return SIZES.get(word, 0)\n"
            "SIZES = {'a': 1}",
            "helped = Step(name='helped', agent=helper)",
            "%flujo run helped -i 'a'",
            "%%flujo agent told --model fake\nTell {{ data }}",
        ],
        "a",
    ),
]
