"""Texts that try to become markup, script, style or terminal commands, and the making of more."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from flujo_nb.engine.store.secrets import looks_like

_FUNCTIONS = (
    "alert(1)",
    "fetch('//x.example')",
    "top[8680439..toString(30)](1)",
    "x`1`",
    "print()",
)
_ELEMENTS = (
    "<script>{}</script>",
    "<SCRIPT SRC=//x.example/a.js></SCRIPT>",
    "<scr<script>ipt>{}</scr</script>ipt>",
    "<img src=x onerror={}>",
    '<img src="x" onerror="{}">',
    "<img/src=x/onerror={}//",
    "<svg onload={}>",
    "<svg><foreignObject><body onload={}></foreignObject></svg>",
    "<svg><a xlink:href='javascript:{}'><text>x</text></a></svg>",
    "<svg><style><img src=x onerror={}></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror={}>",
    "<iframe srcdoc='<script>{}</script>'>",
    "<iframe src=javascript:{}>",
    "<object data=javascript:{}>",
    "<embed src=javascript:{}>",
    "<details open ontoggle={}>",
    "<video><source onerror={}></video>",
    "<input autofocus onfocus={}>",
    "<body onpageshow={}>",
    "<form><button formaction=javascript:{}>x</button></form>",
    "<a href='javascript:{}'>x</a>",
    "<a href=data:text/html,<script>{}</script>>x</a>",
    "<base href=//x.example/>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>",
    "<link rel=stylesheet href=//x.example/a.css>",
    "<style>*{{background:url(//x.example)}}</style>",
    "<template><script>{}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={}>'>",
    "<textarea></textarea><script>{}</script>",
    "<title></title><script>{}</script>",
    "<?xml version='1.0'?><x onload={}/>",
    "<!DOCTYPE html [<!ENTITY x '{}'>]>&x;",
    "<![CDATA[<script>{}</script>]]>",
    "<!-- {} -->",
    "<!--><script>{}</script>",
    "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>{}</x:script>",
)
_BREAKOUTS = (
    *('"', "'", "`", ">", '">', "'>", "-->", "--!>", "]]>", "</", "/>", "\\", '\\"'),
    *("</td>", "</tr></table>", "</pre>", "</code>", "</b>", "</summary></details>", "</div>"),
    *("</th>", "</span>", "</title>", "</svg>", "</text>", "</html>", "</body>", "</style>"),
)
_ATTRIBUTES = (
    " onmouseover={} x=",
    ' onclick="{}" x="',
    "' onfocus='{}' autofocus='",
    " style=position:fixed;inset:0;background:url(javascript:{})",
    '" style="width:expression({})',
    " xmlns:xlink=http://www.w3.org/1999/xlink xlink:href=javascript:{}",
)
_BARE = (
    "javascript:{}",
    "JaVaScRiPt\t:{}",
    "java\nscript:{}",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "data:image/svg+xml,<svg onload={}>",
    "vbscript:{}",
    "[x](javascript:{})",
    "![x](x 'onerror={}')",
    "```html\n<script>{}</script>\n```",
    "# heading\n* <b>{}</b>",
    "$\\href{{javascript:{}}}{{x}}$",
    "click A callback '{}'",
    'click A href "javascript:{}"',
    "graph TD; A[<img src=x onerror={}>] --> B",
    "%%{{init: {{'securityLevel': 'loose'}}}}%%",
    "A --> B\n  end\n  style A fill:url(//x.example)",
    "{{{{ {} }}}}",
    "{{% for x in () %}}{}{{% endfor %}}",
    "${{{}}}",
    "#{{{}}}",
    "{{0.__class__.__mro__}}",
    "%(x)s %s %n {}",
    "color:red;}}*{{x:expression({})",
    "@import '//x.example';{}",
    "\u2028{}\u2029",
)
_ENTITIES = (
    *("&lt;script&gt;{}&lt;/script&gt;", "&#60;img src=x onerror={}&#62;", "&#x3c;b&#x3e;{}"),
    *("&lt", "&amp;lt;b&amp;gt;", "&quot; onclick={}", "&NewLine;&Tab;&colon;", "&#0;&#xD800;"),
    *("%3Cscript%3E{}%3C/script%3E", "\\u003cscript\\u003e{}", "\\x3cb\\x3e", "+ADw-b+AD4-{}"),
)
_LOOK_ALIKES = (
    "\uff1cscript\uff1e{}\uff1c/script\uff1e",
    "\u2039b\u203a{}",
    "\u02bahello\u02ba onclick={}",
    "\ufe64img src=x onerror={}\ufe65",
    "<\u0455cript>{}</\u0455cript>",
    "<\u212amg src=x onerror={}>",
    "<i\u017fcript>{}",
    "\ufeff<b>{}</b>",
    "<b\u200b>{}</b\u200b>",
    "\U000e003c\U000e0062\U000e003e{}",
    "Z\u0351\u036b\u0343a\u0328l\u0321go<b>{}",
)
_CONTROLS = (
    *(
        "\x00",
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x1b]8;;http://x.example\x1b\\",
        "\x1b[2J",
        "\x9b2J",
    ),
    *("\x07", "\x08\x08\x08", "\r", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\x90q", "\x0e"),
    *("\u202e", "\u202d", "\u2066", "\u2067", "\u2069", "\u200f", "\u061c"),
    *("\ud800", "\udfff", "\ufffe", "\U0010ffff"),
)
_KINDS = (_ELEMENTS, _ELEMENTS, _ATTRIBUTES, _BARE, _ENTITIES, _LOOK_ALIKES)
_LONGEST = 92
"""How long several payloads in one text may be: cards show 96 characters of a value."""


def payloads(count: int, seed: int = 5) -> Sequence[str]:
    """``count`` different payloads: each of the corpus first, then mixtures; always the same."""
    found: dict[str, None] = {}
    for one in _all(random.Random(seed)):
        if one.strip() and looks_like(one) is None:
            found[one] = None
        if len(found) == count:
            return list(found)
    raise AssertionError("there is no end to them")


def _all(random_: random.Random) -> Iterator[str]:
    functions = [random_.choice(_FUNCTIONS) for _ in range(200)]
    for kind in _KINDS[1:]:
        yield from (form.format(functions.pop()) for form in kind)
    yield from (f"{one}x" for one in _BREAKOUTS)
    yield from (f"a{one}b<i>" for one in _CONTROLS)
    yield "<" * 3_000
    yield "<b title='" + "x" * 3_000 + "'>"
    yield "<div>" * 800 + "\n" * 20 + "</pre>"
    while True:
        yield _mixed(random_)


def _mixed(random_: random.Random) -> str:
    payload = random_.choice(random_.choice(_KINDS)).format(random_.choice(_FUNCTIONS))
    for _ in range(random_.randrange(3)):
        how = random_.randrange(6)
        if how == 0:
            payload = random_.choice(_BREAKOUTS) + payload
        elif how == 1:
            at = random_.randrange(len(payload) + 1)
            payload = payload[:at] + random_.choice(_CONTROLS) + payload[at:]
        elif how == 2:
            payload = "".join(c.swapcase() if random_.random() < 0.4 else c for c in payload)
        elif how == 3:
            payload += random_.choice(_BREAKOUTS)
        elif how == 4:
            payload = payload.replace(" ", random_.choice(("/", "\t", "\n", "\x0c", "%20")))
        else:
            payload = payload[: random_.randrange(1, len(payload) + 1)]
    return payload * 60 if random_.random() < 0.02 else payload


def texts_of(found: Sequence[str]) -> Sequence[str]:
    """Texts with one payload each, or with several that a card shows together."""
    texts: list[str] = []
    for one in sorted(found, key=lambda one: len(repr(one)), reverse=True):
        size = len(repr(one))
        place = next(
            (n for n, text in enumerate(texts) if len(repr(text)) + size <= _LONGEST), None
        )
        if place is None:
            texts.append(one)
        else:
            texts[place] = f"{texts[place]} {one}"
    return texts


def harmless(text: str) -> str:
    """A text of the same shape, that means nothing to anybody: with as many lines."""
    return "\n".join("harmless" if line.strip() else "" for line in text.splitlines())
